"""Records of `tests.made_up_runs` are read like those of trained runs."""

from __future__ import annotations

from pathlib import Path

from benchmark.grid.load import load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.overview import overview
from tests.grids import write_grid
from tests.made_up_runs import make_finished


def test_made_up_runs_are_read_like_any_other(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "grid.yaml", methods=["static", "lgvit", "vanilla", "homogeneous-local"], seeds=[0, 1])
    grid, store = load_grid(path), Store(tmp_path / "results")
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
