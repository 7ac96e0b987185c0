"""The tidy table of what blocks represent, from made-up measurements."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd

from reports.sections.representations import by_block
from reports.study import Study
from results.record import StageRef
from results.spec import Weights
from results.store.representations import TOKENS, Measurement, Measurements
from results.tables.representations import representation_table
from results.tables.run import Run
from tests.results.builders import done_record, run_spec


def run(run_id: str, cka: float, keys: tuple[str, ...] = ("0",), content: str = "clean", **spec: Any) -> Run:
    """A run on backbones with these keys, the last of which is measured on a dataset."""
    stages = tuple(
        StageRef(stage="finetune", key=key * 16, code={}, seconds=1, shared_pass=1, artifacts=()) for key in keys
    )
    record = done_record(run_id, spec=run_spec("static", (), **spec), stages=stages)
    record = record.model_copy(update={"data": record.data.model_copy(update={"content": {"test": content}})})
    rows = (Measurement(measure="cka", split="test", block=1, part="patch mean", value=cka),)
    table = Measurements(TOKENS, stages[-1].name, record.data.content, rows)
    assert table.fits(record)
    return Run(record, {}, pd.DataFrame(), Path(), measurements=(table,))


def test_corrupted_images_are_measured_apart_on_one_backbone() -> None:
    table = representation_table([run("a", 0.5), run("b", 0.5), run("c", 0.2, content="fog")])
    assert table is not None
    assert list(zip(table["run_id"], table["value"], strict=True)) == [("a", 0.5), ("c", 0.2)]


def test_backbones_of_different_trainings_are_not_averaged() -> None:
    runs = [
        run("scratch", 0.1, ("0",)), run("truncated", 0.4, ("0", "1")),
        run("pretrained", 0.7, ("2",), weights=Weights(source="timm:x")),
    ]  # fmt: skip
    names = SimpleNamespace(runs=runs, tidy={"representations": representation_table(runs)}, backbones={})
    names.display = {one.method: one.method for one in runs}
    tables = by_block(cast(Study, names))
    assert [table["cka_mean"].tolist() for table in tables.values()] == [[0.1], [0.4], [0.7]]
