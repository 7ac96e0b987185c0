"""Makes a stage with a table of measurements, unless it exists."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmark import provenance
from benchmark.representations.subject import Subject
from benchmark.stages.graph import measurement_name
from results.store.representations import Measurement, Measurements, csv_text, file_of, read_stage


def measure(
    subject: Subject, kind: str, fields: dict[str, Any], rows: Callable[[], Iterable[Measurement]]
) -> tuple[str, Measurements]:
    """The table of a stage. It appears whole or not at all, and is made once.

    Args:
        subject: the backbone and its data.
        kind: of the stage, one of `results.store.representations.KINDS`.
        fields: of the key, beside the backbone and the data.
        rows: computes the table.

    Returns:
        the name and the content of the stage.

    Raises:
        StoreError: the stage is damaged.
    """
    store = subject.store
    name, complete = measurement_name(subject.fields | fields, kind)
    if not store.has_stage(name):
        start = time.monotonic()
        table = csv_text(rows())
        store.prepare()
        origin = provenance.stage_provenance(str(subject.device), time.monotonic() - start)
        with store.write_stage(name, complete, origin) as folder:
            (folder / file_of(kind)).write_text(table, encoding="utf-8")
    return name, read_stage(store, name)
