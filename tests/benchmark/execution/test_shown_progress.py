"""What `run` shows while it trains: accuracy on val, which changes no bit, and the time left over all stages."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest

from benchmark.execution.overall import OverallProgress
from benchmark.execution.val_accuracy import ValAccuracyWatcher
from benchmark.grid.load import load_grid
from benchmark.stages.plan import make_plan
from methods.model import MultiExitModel
from methods.tasks import get_task
from results.store.attempts import Heartbeat, now, this_process
from results.store.folder import Store
from tests.benchmark.training.loops import Loop, StopAt, assert_same
from tests.grids import write_grid
from tests.results.builders import stage_provenance

CLASSIFICATION = get_task("classification")


class Watched(StopAt):
    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, float]] = []

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        super().step(step, epoch, metrics)
        self.metrics.append(metrics())


def test_accuracy_on_val_is_shown_and_changes_no_bit(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    (plain,) = loop.fit(loop.learners(0), tmp_path / "plain")
    watched = Watched()
    (learner,) = loop.learners(0)
    seconds = chain([0.0], repeat(1000.0))
    watcher = ValAccuracyWatcher(
        watched, learner, CLASSIFICATION, loop.inputs, lambda: loop.backbone, lambda: next(seconds)
    )
    (shown,) = loop.fit([learner], tmp_path / "shown", watcher=watcher)
    assert_same(plain, shown)
    assert "val accuracy" not in watched.metrics[1]  # before the end of the first epoch
    model = MultiExitModel(loop.backbone, learner.module).eval()
    (batch,) = loop.inputs.scoring("val")
    exits = model.forward_all(batch.images).logits[:-1]
    expected = (exits.argmax(-1) == batch.labels).double().mean().item()
    assert watched.metrics[-1]["val accuracy"] == pytest.approx(expected)


def test_a_short_training_spends_no_time_on_it(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    watched = Watched()
    (learner,) = loop.learners(0)
    watcher = ValAccuracyWatcher(
        watched, learner, CLASSIFICATION, loop.inputs, lambda: loop.backbone, clock=lambda: 0.0
    )
    loop.fit([learner], tmp_path / "shown", watcher=watcher)
    assert not any("val accuracy" in metrics for metrics in watched.metrics)


def test_the_time_left_counts_all_stages(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plan = make_plan(load_grid(write_grid(tmp_path / "grid.yaml", seeds=[0, 1])), store)
    seconds = [0.0]
    progress = OverallProgress(plan, store, clock=lambda: seconds[0])
    assert progress.sentence() is None
    first, second = (stage for stage in plan.missing_stages if stage.kind == "finetune")
    with store.write_stage(first.name, first.fields, stage_provenance()):
        pass
    seconds[0] = 60.0
    sentence = progress.sentence()
    assert sentence is not None
    share = progress.macs[next(unit for unit in progress.macs if first.name in unit.names)] / progress.total
    assert f"{100 * share:.0f} %" in sentence
    beat = {"by": this_process("s"), "device": "cpu", "attempt": 1, "started": now(), "updated": now()}
    store.progress_dir(second.name).mkdir(parents=True)
    store.progress(second.name).write_heartbeat(Heartbeat(stage=second.name, step=5, steps=10, **beat))
    assert f"{150 * share:.0f} %" in (progress.sentence() or "")
    # A later command does not take credit for what an earlier one has done.
    later = OverallProgress(plan, store, clock=lambda: seconds[0])
    assert later.sentence() is None
