"""A record whose numbers differ from its tables is named and left out, and the other runs are reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.store.folder import Store
from results.tables.loading import load_runs, without_repeats
from results.tables.run import STATIC
from tests.conftest import SmokeRun
from tests.results.edited import edit_record

Record = dict[str, Any]


def half(record: Record) -> Record:
    """The operating point at half of the MACs, on test."""
    (point,) = (p for p in record["points"] if (p["kind"], p["target"]) == ("equal-macs", 0.5))
    test: Record = point["test"]
    return test


def within(record: Record, drop: float = 0.02) -> Record:
    """The operating point at a permitted drop on val."""
    (point,) = (p for p in record["points"] if (p["kind"], p["target"]) == ("accuracy-drop", drop))
    return point  # type: ignore[no-any-return]


def cheaper(record: Record) -> None:
    """All samples exit at the first exit, with consistent costs."""
    test = half(record)
    test["exit_shares"] = [1.0] + [0.0] * (len(test["exit_shares"]) - 1)
    test["mean_macs"] = record["costs"]["cumulative"][0]
    test["mean_block"] = record["exits"][0]["block"]


EDITS: dict[str, Callable[[Record], object]] = {
    "share of exit 1": cheaper,
    "exit_shares.0": lambda record: half(record).update(exit_shares=[2, -1] + [0] * (len(record["exits"]) - 2)),
    "accuracy at": lambda record: half(record).update(accuracy=half(record)["accuracy"] + 0.01),
    "test.accuracy": lambda record: half(record).update(accuracy=9.5),
    "mean MACs": lambda record: half(record).update(mean_macs=half(record)["mean_macs"] / 2),
    "mean_macs": lambda record: half(record).update(mean_macs=0),
    "mean block": lambda record: half(record).update(mean_block=1),
    "static_accuracy": lambda record: record["static_accuracy"].update(test=0.99),
    "test accuracy of exit 1": lambda record: record["exits"][0].update(test_accuracy=1),
    "block of exit 1": lambda record: record["exits"][0].update(block=999),
    "costs.cumulative": lambda record: record["costs"].update(stem=record["costs"]["stem"] + 1),
    "costs.cumulative.0": lambda record: record["costs"]["cumulative"].__setitem__(0, 1e30),
    "costs.baseline": lambda record: record["costs"].update(baseline=10**399),
    "costs.baseline is": lambda record: record["costs"].update(baseline=3 * record["costs"]["baseline"]),
    "method.color": lambda record: record["method"].update(color="#zzzzzz"),
    "method.marker": lambda record: record["method"].update(marker="no marker"),
    "method.dashes": lambda record: record["method"].update(dashes=[-1, 2]),
    "backbone.name": lambda record: record["spec"]["train"].update(backbone="vit_base_patch16_224"),
    "seed": lambda record: record["spec"]["train"].update(seed=10**399),
    "costs.depth": lambda record: record["costs"].update(depth=0),
    "data.sizes.test": lambda record: record["data"]["sizes"].update(test=10**6),
    "rows of": lambda record: record["data"]["sizes"].update(test=7),
    "classes": lambda record: record["data"].update(classes=1),
    "static_accuracy.val": lambda record: record["static_accuracy"].update(val=0.98765),
    "val accuracy of exit 1": lambda record: record["exits"][0].update(val_accuracy=0.12345),
    "accuracy on val": lambda record: within(record)["val"].update(accuracy=0.5),
    "mean MACs on val": lambda record: within(record)["val"].update(mean_macs=within(record)["val"]["mean_macs"] / 2),
    "mean block on val": lambda record: within(record)["val"].update(mean_block=1),
    "beside its exit shares": lambda record: within(record)["val"]["exit_shares"].reverse(),
    "threshold of": lambda record: within(record)["settings"][0].update(threshold=0.123),
    "none on val": lambda record: record["static_accuracy"].update(val=1),
    "redrawn.mac_speedup": lambda record: within(record)["redrawn"].update(mac_speedup=[1, 50]),
    "redrawn.layer_speedup": lambda record: within(record)["redrawn"].update(layer_speedup=[0.5, 1]),
    "weight": lambda record: record["points"][0]["settings"][0].update(weight=0.5),
    "at most": lambda record: record.update(points=[]),
    "torch": lambda record: record["provenance"]["machine"].update(packages={}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_record_is_named(smoke: SmokeRun, tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    for method in ("lgvit", "static"):
        (source,) = smoke.results.glob(f"runs/{method}-*")
        shutil.copytree(source, store.run(source.name))
    edited, untouched = store.run_ids()
    edit_record(store.run(edited), EDITS[name])
    (run,), (problem,) = load_runs(store, [edited, untouched])
    assert run.record.run_id == untouched
    assert edited in problem
    assert name in problem


def test_other_results_of_the_same_training_are_named(smoke: SmokeRun, tmp_path: Path) -> None:
    store = Store(tmp_path)
    (source,) = smoke.results.glob("runs/lgvit-*")
    copied = [f"{source.name[:-1]}{digit}" for digit in "01"]
    for run_id in copied:
        shutil.copytree(source, store.run(run_id))
        edit_record(store.run(run_id), lambda record, run_id=run_id: record.update(run_id=run_id))  # type: ignore[misc]
    runs, problems = load_runs(store, copied)
    assert (len(runs), problems) == (1, [])
    at = runs[0].class_outcomes(STATIC)
    other = replace(at, prediction=np.roll(at.prediction, 1))
    changed = runs[0].changed(
        record=runs[0].record.model_copy(update={"run_id": "other"}),
        point_outcomes={**runs[0].point_outcomes, STATIC: other},
    )
    spec = runs[0].record.spec.model_copy(update={"scheme": "published"})
    elsewhere = changed.changed(record=changed.record.model_copy(update={"spec": spec}))
    both, problems = without_repeats([runs[0], elsewhere])
    assert ([run.record.spec.scheme for run in both], problems) == (["paper", "published"], [])
    assert both[1].record.points == elsewhere.record.points
    kept, (problem,) = without_repeats([runs[0], changed])
    assert kept[0].record.run_id == copied[0]
    assert "other:" in problem
    assert copied[0] in problem
