"""Damaged runs and stages are moved aside and made again; a sentence names where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.sealed import sealed
from results.store.folder import Store
from tests.made_up_runs import make_finished
from tests.results.edited import edit_json

NO_FILE = {"path": "val.safetensors", "sha256": "0" * 64, "bytes": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "results"
    make_finished(load_grid(find_grid("smoke")), Store(folder))
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "results")
    return Store(tmp_path / "results")


@pytest.mark.parametrize("file", ["outcomes.parquet", "record.json"])
def test_a_damaged_run_is_evaluated_again_from_its_scores(store: Store, file: str) -> None:
    grid = load_grid(find_grid("smoke"))
    victim = make_plan(grid, store).runs[1]
    path = store.run(victim.run_id) / file
    path.write_bytes(path.read_bytes()[:-30])
    sentences: list[str] = []
    plan = make_plan(grid, store, sentences.append)
    assert ([run.run_id for run in plan.missing_runs], plan.missing_stages) == ([victim.run_id], [])
    (sentence,) = sentences
    aside = store.root / "damaged" / victim.run_id
    assert (str(path) in sentence, str(aside) in sentence) == (True, True)
    assert (aside / "record.json").is_file()


@pytest.mark.parametrize("damage", ["absent", "artifact", "manifest"])
def test_damaged_scores_of_a_damaged_run_are_made_again(store: Store, damage: str) -> None:
    grid = load_grid(find_grid("smoke"))
    victim = make_plan(grid, store).runs[1]
    record, scores = store.run(victim.run_id) / "record.json", store.stage(victim.scores.name)
    record.write_bytes(record.read_bytes()[:-30])
    if damage == "absent":
        shutil.rmtree(scores)
    elif damage == "manifest":
        (scores / "manifest.json").write_text("{}")
    else:
        edit_json(scores / "manifest.json", lambda manifest: manifest["artifacts"].append(NO_FILE))
    sentences: list[str] = []
    plan = make_plan(grid, store, sentences.append)
    assert plan.missing_stages == [victim.scores]
    assert (store.root / "damaged" / victim.scores.name).is_dir() == (damage != "absent")
    assert victim.scores.name in sentences[-1]


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        sealed("{}"),
        sealed('{"artifacts": 5, "fields": {}}'),
        sealed('{"artifacts": [{}], "fields": {}}'),
        sealed('{"artifacts": [], "fields": []}'),
    ],
)
def test_run_and_status_agree_on_a_stage_with_a_damaged_manifest(store: Store, content: str) -> None:
    grid = load_grid(find_grid("smoke"))
    victim = make_plan(grid, store).runs[1]
    shutil.rmtree(store.run(victim.run_id))
    (store.stage(victim.cost.name) / "manifest.json").write_text(content)
    assert make_plan(grid, store).missing_stages == [victim.cost]
    sentences: list[str] = []
    assert make_plan(grid, store, sentences.append).missing_stages == [victim.cost]
    (sentence,) = sentences
    assert victim.cost.name in sentence
    assert not store.has_stage(victim.cost.name)


def test_several_damaged_copies_have_names_of_their_own(store: Store) -> None:
    name = make_plan(load_grid(find_grid("smoke")), store).runs[1].cost.name
    paths = []
    for _ in range(3):
        store.stage(name).mkdir(exist_ok=True)
        paths.append(store.set_aside(store.stage(name)).name)
    assert paths == [name, f"{name}-2", f"{name}-3"]
