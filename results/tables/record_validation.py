"""Whether a run holds what tables and reports read of it. Records come from anybody: what does not fit together is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from results.record import RunRecord

if TYPE_CHECKING:
    from results.tables.run import Run

CURVES = ("threshold", "accuracy", "low", "high", "mean_macs", "mean_block")


class _Chosen(BaseModel):
    name: str
    set: dict[str, Any]


class _Recipe(BaseModel):
    lr: float


class _Train(BaseModel):
    backbone: str
    dataset: _Chosen
    method: _Chosen
    exits: list[int]
    recipes: dict[str, _Recipe]
    seed: int


class _Spec(BaseModel):
    train: _Train
    scheme: str
    policies: list[Any]


class _Machine(BaseModel):
    cpu: str
    gpu: str | None
    threads: int
    deterministic: bool
    precision: str
    ranks: int = 1
    packages: dict[str, str | None]


class _Code(BaseModel):
    commit: str | None
    dirty: bool


class _Provenance(BaseModel):
    machine: _Machine
    code: _Code
    finished: str


def check_record(record: RunRecord) -> None:
    """
    Raises:
        ValueError: a finished record lacks what a report reads, or its parts do not fit together.
    """
    for model, content, name in (_Spec, record.spec, "spec"), (_Provenance, record.provenance, "provenance"):
        try:
            model.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, (name, *first['loc'])))}: {first['msg']}") from None
    costs, data = record.costs, record.data
    if costs is None or data is None:
        raise ValueError("a finished record has costs and data")
    if not {"train", "val", "test"} <= data.sizes.keys() or not {"val", "test"} <= record.static_accuracy.keys():
        raise ValueError("data.sizes or static_accuracy lacks a split")
    if costs.baseline <= 0 or costs.depth <= 0 or data.classes < 1 or (costs.cumulative and min(costs.cumulative) <= 0):
        raise ValueError("costs or classes are not positive")
    exits = len(record.spec["train"]["exits"])
    if exits and not exits + 1 == len(record.exits) == len(costs.cumulative) == len(costs.heads):
        raise ValueError("exits and costs are not of the same length")
    for point in record.points:
        if point.test is not None and (point.val is None or len(point.test.exit_shares) != len(record.exits)):
            raise ValueError(f"the point {point.name!r} does not fit the exits")
        shares = [sum(found.exit_shares) for found in (point.val, point.test) if found is not None]
        if any(not abs(share - 1) < 1e-6 for share in shares):
            raise ValueError(f"the exit shares at {point.name!r} do not sum to 1")
        if (point.test is not None) != point.reached:
            raise ValueError(f"the point {point.name!r} has settings without numbers, or numbers without settings")
    if record.spec["train"]["exits"] and not {"finetune", "exits"} <= record.spec["train"]["recipes"].keys():
        raise ValueError("spec.train.recipes: finetune or exits is missing")
    for text in _texts([record.model_dump(exclude={"cause"})]):
        if not text.replace("\n", " ").isprintable():
            raise ValueError(f"{text[:60]!r} holds characters that are no text")


def check_tables(run: Run) -> None:
    """
    Raises:
        ValueError: a table beside the record has other columns, exits, points or samples than the record says.
    """
    exits = max(len(run.record.exits), 1)
    wanted = ["static", *(point.name for point in run.record.points if point.reached)]
    missing = [name for name in wanted if name not in run.taken]
    if missing:
        raise ValueError(f"the outcomes lack the point {missing[0]!r}")
    first = run.taken["static"]
    for name, taken in run.taken.items():
        if not np.array_equal(taken.sample_id, first.sample_id) or not np.array_equal(taken.label, first.label):
            raise ValueError(f"the outcomes at {name!r} are of other samples than those without exits")
        if taken.exit.min() < 0 or taken.exit.max() >= exits:
            raise ValueError(f"the outcomes at {name!r} name an exit that the record has not")
    _check_columns(run.curves, ("policy", "split"), CURVES, "curves")
    if not run.has_exits:
        return
    for policy, corners in run.cornered.items():
        if not np.array_equal(corners.sample_id, first.sample_id):
            raise ValueError(f"the corners of {policy!r} are of other samples than the outcomes")
        if corners.exit.min() < 0 or corners.exit.max() >= exits:
            raise ValueError(f"the corners of {policy!r} name an exit that the record has not")
    if len(run.answers.prediction) != exits or not np.isin(first.sample_id, run.answers.sample_id).all():
        raise ValueError("the answers are of other exits or samples than the outcomes")


def _check_columns(table: pd.DataFrame, texts: tuple[str, ...], numbers: tuple[str, ...], name: str) -> None:
    missing = [column for column in (*texts, *numbers) if column not in table]
    if missing:
        raise ValueError(f"the table of {name} has no column {', '.join(missing)}")
    other = [column for column in numbers if not pd.api.types.is_numeric_dtype(table[column])]
    if other:
        raise ValueError(f"the table of {name} holds no numbers in {', '.join(other)}")


def _texts(content: Any) -> Iterator[str]:
    """All texts in nested data, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)
