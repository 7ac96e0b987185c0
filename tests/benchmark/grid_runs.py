"""Grids that a test trains with the command ``run``, and their stored scores."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmark.execution.estimate import RECORD_BYTES, Estimator
from benchmark.execution.units import units_of
from benchmark.grid.load import load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.conftest import call


def run_grid(grid: Path, results: Path, *options: object) -> str:
    """Run a grid on one thread; returns what the command prints."""
    done = call("run", "--grid", grid, "--results", results, "--threads", "1", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_equal_scores(first: Path, second: Path) -> None:
    """The stages of scores of two results folders have the same keys and, on test, the same bits."""
    stages = [sorted(path.name for path in (folder / "stages").glob("scores-*")) for folder in (first, second)]
    assert stages[0] == stages[1] != []
    for stage in stages[0]:
        one, other = (load_file(folder / "stages" / stage / "test.safetensors") for folder in (first, second))
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def assert_stored_as_estimated(grid: Path, results: Path) -> None:
    """Scores and tables of answers take about as much as was estimated before the first run."""
    nothing = Store(results / "nothing")
    plan = make_plan(load_grid(grid), nothing)
    estimator, estimated = Estimator(plan, nothing), {"scores": 0, "records": 0}
    for unit in units_of(plan, {}):
        if unit.kind in estimated:
            estimated[unit.kind] += estimator.unit(unit).artifact_bytes
    estimated["records"] -= RECORD_BYTES * len(plan.runs)
    files = {"scores": "stages/scores-*/*.safetensors", "records": "runs/*/answers.parquet"}
    for kind, pattern in files.items():
        stored = sum(path.stat().st_size for path in results.glob(pattern))
        assert 0.5 < estimated[kind] / stored < 2, kind
