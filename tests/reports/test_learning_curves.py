"""Curves of short trainings: kept in the record, and shown in the report."""

from __future__ import annotations

import json

from reports.blocks import Drawn, Text
from reports.sections.learning_curves import learning_curves
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun


def without_curves(run: Run) -> Run:
    stages = tuple(stage.model_copy(update={"accuracies": ()}) for stage in run.record.stages)
    return run.changed(record=run.record.model_copy(update={"stages": stages}))


def test_the_report_shows_the_accuracy_of_every_epoch_of_a_short_training(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    (stage,) = {stage.name for run in runs for stage in run.record.stages if stage.stage == "finetune"}
    history = [epoch["accuracy"] for epoch in json.loads((store.stage(stage) / "history.json").read_text())]
    text, figure = learning_curves(Study("t", runs, tidy_tables(runs, [])))
    assert isinstance(text, Text)
    assert isinstance(figure, Drawn)
    assert f"{100 * (history[-1] - history[-2]):+.1f} points".replace("-", "−") in text.text
    (axes,) = figure.figure.axes
    lines = {str(line.get_label()): list(line.get_ydata()) for line in axes.get_lines()}  # type: ignore[arg-type]
    assert lines["backbone"] == [100 * accuracy for accuracy in history]
    assert len(lines) == 5  # and four methods with exits
    bare = [without_curves(run) for run in runs]
    assert learning_curves(Study("t", bare, tidy_tables(bare, []))) == []
