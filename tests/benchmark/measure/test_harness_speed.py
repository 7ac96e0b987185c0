"""`bench harness` measures what it says: the same training twice, runs that are planned, records that are read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.cli import bench_harness
from benchmark.grid.load import load_grid
from benchmark.measure.command_speed import NARROW, time_command, write_grid
from benchmark.measure.loop_speed import measure_loop
from benchmark.measure.made_up_runs import make_finished
from benchmark.stages.plan import make_plan
from benchmark.training.backbone import build_backbone
from benchmark.training.inputs import read_inputs
from results.spec import DEFAULT_RECIPES, Configured, Recipes, RunSpec, TrainSpec
from results.store.folder import Store
from results.tables.overview import overview
from results.tables.run import load_runs


def test_both_loops_train_and_end_with_the_same_weights() -> None:
    recipe = DEFAULT_RECIPES["finetune"].model_copy(update={"batch_size": 20, "warmup": 0.5})
    train = TrainSpec(
        dataset=Configured(name="fashion-mnist-mini", set={"train": 50, "val": 10, "test": 10}),
        backbone="vit_nano_patch4_28", method=Configured(name="static"), exits=(), recipes=Recipes(finetune=recipe), seed=0,
    )  # fmt: skip
    run = RunSpec(train=train, scheme="none", policies=())
    found = measure_loop(run, read_inputs(train, None, workers=0), 2, torch.device("cpu"))
    assert found.images == 50
    assert len(found.suite) == len(found.bare) == 2  # the first of each warmed up
    assert found.same_work
    assert all(epoch.seconds > 0 and epoch.cpu_seconds > 0 for epoch in (*found.suite, *found.bare))
    other = measure_loop(
        run.model_copy(update={"train": train.model_copy(update={"seed": 1})}),
        read_inputs(train, None, workers=0), 1, torch.device("cpu"),
    )  # fmt: skip
    assert other.suite[0].weights != found.suite[0].weights
    untrained = build_backbone(train).state_dict()
    assert found.suite[0].weights != _digest(untrained)


def _digest(state: dict[str, torch.Tensor]) -> str:
    from hashlib import sha256

    return sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()


def test_made_up_runs_are_read_like_any_other(tmp_path: Path) -> None:
    grid, store = load_grid(write_grid(tmp_path, NARROW, 2)), Store(tmp_path / "results")
    assert make_finished(grid, store) == 8
    plan = make_plan(grid, store)
    assert not plan.missing_runs
    assert all(plan.is_done(stage) for stage in plan.stages)
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    assert {run.record.run_id for run in runs} == {run.run_id for run in plan.runs}
    assert all(run.record.points for run in runs if run.has_exits)
    table, problems = overview(store)
    assert problems == []
    assert len(table) == 8
    assert table["mac_speedup"].notna().sum() == 6


def test_what_is_counted_is_there() -> None:
    console = Console(file=io.StringIO(), width=200)
    bench_harness._plan(console, 2000, 1)
    bench_harness._list(console, 8, 1)
    bench_harness._second_run(console, 4, 1)
    bench_harness._report(console, 4, images=200)
    assert isinstance(console.file, io.StringIO)
    plan, listed, second, report = console.file.getvalue().splitlines()
    assert "2,000 runs planned in" in plan
    assert "8 records listed and tabulated in" in listed
    assert "4 runs found finished, nothing written, in" in second
    assert "4 records reported as PDF, CSV and Markdown in" in report
    assert "under 60 s: " in report
    assert all("under 5 s: " in line and "CPU time" in line for line in (plan, listed, second))


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="unknown grid 'no'"):
        time_command("plan", "--grid", "no", repeats=1)
