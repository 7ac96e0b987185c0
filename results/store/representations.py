"""Measures of the tokens of trained backbones: the tables of the stages ``representations`` and ``gradients``.

Each stage holds one CSV table in long form, one row per value. The manifest says which backbone and data it describes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from results.frozen import Frozen
from results.record import Block, DoneRecord
from results.record_parsing import refuse_control_characters
from results.store.files import read_file
from results.store.folder import Store, StoreError
from results.store.probes import backbone_stage
from results.text import printable

TOKENS = "representations"
GRADIENTS = "gradients"
KINDS = (TOKENS, GRADIENTS)
"""Kinds of stages."""
FILE_BYTES = 2**23

Measure = Literal[
    "cka", "attention-distance", "uniform-distance", "high-frequency-share", "white-noise-share", "gradient-cosine",
    "gradient-conflicts",
]  # fmt: skip


class Measurement(Frozen):
    """One value of one measure after one block."""

    measure: Measure
    split: Literal["train", "val", "test"]
    block: Block
    part: Annotated[str, Field(max_length=40)]
    """The kind of features (as in `results.store.probes`), ``head 1``, ``head 2``, ... for attention heads, or empty."""
    value: Annotated[float, Field(ge=-1e6, le=1e6)] | None
    """None if the measure does not apply; then `note` has the reason."""
    note: Annotated[str, Field(max_length=300)] = ""


COLUMNS = tuple(Measurement.model_fields)


@dataclass(frozen=True)
class Measurements:
    """The table of one stage.

    Attributes:
        kind: of the stage, one of `KINDS`.
        backbone: name of the stage that trained the backbone.
        content: SHA-256 over the images, by split, as in `results.record.DataCard`.
        rows: of the table.
    """

    kind: str
    backbone: str
    content: dict[str, str]
    rows: tuple[Measurement, ...]

    def fits(self, record: DoneRecord) -> bool:
        """Whether they describe a run; gradients describe only runs whose heads the same stage trained."""
        trained_later = any(reference.stage == "exits" for reference in record.stages)
        own = backbone_stage(record) == self.backbone and record.data.content == self.content
        return own and not (self.kind == GRADIENTS and trained_later)


def file_of(kind: str) -> str:
    """The name of the table of a stage."""
    return f"{kind}.csv"


def csv_text(rows: Iterable[Measurement]) -> str:
    """The table of rows; an undefined value is an empty cell."""
    target = io.StringIO()
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return target.getvalue()


def parse_csv(content: bytes) -> tuple[Measurement, ...]:
    """The rows of a table.

    Raises:
        ValueError: it has other columns, or a value is not allowed.
    """
    reader = csv.DictReader(io.StringIO(content.decode("utf-8")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
    rows = tuple(Measurement.model_validate(row | {"value": row["value"] or None}) for row in reader)
    refuse_control_characters([row.model_dump() for row in rows])
    return rows


def read_stage(store: Store, name: str) -> Measurements:
    """The table of a stage.

    Raises:
        StoreError: it is missing, damaged or was changed.
    """
    kind = name.rpartition("-")[0]
    path = store.artifact(name, file_of(kind))
    try:
        fields: dict[str, Any] = store.manifest(name)["fields"]
        rows = parse_csv(read_file(store.plain_file(path), FILE_BYTES))
        return Measurements(kind, str(fields["backbone"]), dict(fields["content"]), rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise StoreError(f"{path}: {printable(str(reason))[:300]}") from None


def read_measurements(store: Store, damaged: list[str], kinds: Sequence[str] = KINDS) -> list[Measurements]:
    """All tables in a results folder; a sentence for each damaged one is appended to ``damaged``."""
    tables = []
    for name in (name for kind in kinds for name in store.stages(kind)):
        try:
            tables.append(read_stage(store, name))
        except StoreError as error:
            damaged.append(printable(str(error)))
    return tables
