"""A damaged run is evaluated again if its stages are complete; otherwise a sentence says what to do, and nothing is removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.made_up_runs import make_finished


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "results"
    make_finished(load_grid(find_grid("smoke")), Store(folder))
    return folder


@pytest.mark.parametrize(
    ("file", "with_scores"), [("outcomes.parquet", True), ("record.json", True), ("outcomes.parquet", False)]
)
def test_a_damaged_run_is_evaluated_again_from_its_scores(
    made: Path, tmp_path: Path, file: str, with_scores: bool
) -> None:
    shutil.copytree(made, tmp_path / "results")
    store, grid = Store(tmp_path / "results"), load_grid(find_grid("smoke"))
    victim = make_plan(grid, store).runs[1]
    path = store.run(victim.run_id) / file
    path.write_bytes(path.read_bytes()[:-30])
    if not with_scores:
        shutil.rmtree(store.stage(victim.scores.name))
    sentences: list[str] = []
    plan = make_plan(grid, store, sentences.append)
    assert [run.run_id for run in plan.missing_runs] == ([victim.run_id] if with_scores else [])
    assert plan.missing_stages == []
    (sentence,) = sentences
    assert str(path) in sentence
    assert path.exists() != with_scores
    assert (victim.scores.name in sentence) != with_scores
