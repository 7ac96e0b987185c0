"""Results of several machines and people read as one: conflicts are named, and paths stay inside their folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.setup import data_rows, facts
from results.sealed import KEY, sealed
from results.store.folder import Store
from results.store.merged_folders import MergedFolders
from results.tables.loading import load_runs
from results.tables.metrics import area_table, exit_table, routing_table
from results.tables.points import comparisons, points
from tests.conftest import SmokeRun
from tests.results.edited import edit_record


def copied(smoke: SmokeRun, folder: Path, *names: str) -> Store:
    """A copy of the records and tables of some methods."""
    for path in (smoke.results / "runs").iterdir():
        if not names or path.name.startswith(tuple(f"{name}-vit" for name in names)):
            shutil.copytree(path, folder / "runs" / path.name)
    return Store(folder)


def change(store: Store, run_id: str, edit: dict[str, Any]) -> None:
    edit_record(store.run(run_id), lambda record: record.update(edit))


def test_two_folders_give_the_report_of_one_with_all_runs(smoke: SmokeRun, tmp_path: Path) -> None:
    whole = Store(smoke.results)
    copied(smoke, tmp_path / "a", "static", "lgvit", "vanilla")
    copied(smoke, tmp_path / "b", "static", "homogeneous-local", "homogeneous-global")
    both = MergedFolders([tmp_path / "a", tmp_path / "b"])
    assert both.run_ids() == whole.run_ids()
    runs, problems = load_runs(both, both.run_ids())
    assert problems == []  # static is equal in both
    expected, _ = load_runs(whole, whole.run_ids())
    pd.testing.assert_frame_equal(points(runs), points(expected))
    pd.testing.assert_frame_equal(comparisons(runs), comparisons(expected))


def test_a_conflict_is_named_and_the_first_folder_is_used(smoke: SmokeRun, tmp_path: Path) -> None:
    first, second = copied(smoke, tmp_path / "a", "lgvit"), copied(smoke, tmp_path / "b", "lgvit")
    (run_id,) = first.run_ids()
    change(second, run_id, {"own_policy": "theirs"})
    for folders, policy in (([first, second], "confidence"), ([second, first], "theirs")):
        both = MergedFolders([store.root for store in folders])
        (run,), (sentence,) = load_runs(both, both.run_ids())
        assert run.record.own_policy == policy
        assert sentence.startswith(f"{folders[1].run(run_id)}: ")
        assert "record.json" in sentence
        assert str(folders[0].root) in sentence


@pytest.mark.parametrize("edit", [{"status": "failed"}, {"schema_version": 99}])
def test_a_finished_run_wins_in_any_folder(smoke: SmokeRun, tmp_path: Path, edit: dict[str, Any]) -> None:
    worse, better = copied(smoke, tmp_path / "a", "lgvit"), copied(smoke, tmp_path / "b", "lgvit")
    (run_id,) = worse.run_ids()
    change(worse, run_id, edit)
    (run,), (sentence,) = load_runs(MergedFolders([worse.root, better.root]), [run_id])
    assert run.folder == better.run(run_id)
    assert sentence.startswith(str(worse.run(run_id)))
    assert str(better.root) in sentence


def test_a_link_out_of_the_folder_is_not_followed(smoke: SmokeRun, tmp_path: Path) -> None:
    secret = copied(smoke, tmp_path / "private", "lgvit", "vanilla")
    lgvit, vanilla = secret.run_ids()
    foreign = tmp_path / "foreign"
    (foreign / "runs").mkdir(parents=True)
    (foreign / "runs" / lgvit).symlink_to(secret.run(lgvit))
    shutil.copytree(secret.run(vanilla), foreign / "runs" / vanilla)
    (foreign / "runs" / vanilla / "outcomes.parquet").unlink()
    (foreign / "runs" / vanilla / "outcomes.parquet").symlink_to(secret.run(vanilla) / "outcomes.parquet")
    store = Store(foreign)
    runs, problems = load_runs(store, store.run_ids())
    assert runs == []
    assert len(problems) == 2
    assert all("link" in problem for problem in problems)
    # The results folder itself may be a link, and links that stay inside are permitted.
    (tmp_path / "shortcut").symlink_to(secret.root)
    own = Store(tmp_path / "shortcut")
    assert [run.record.run_id for run in load_runs(own, own.run_ids())[0]] == [lgvit, vanilla]


def test_a_pipe_in_place_of_a_table_does_not_block(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path, "lgvit")
    (run_id,) = store.run_ids()
    (store.run(run_id) / "curves.parquet").unlink()
    os.mkfifo(store.run(run_id) / "curves.parquet")
    _, (problem,) = load_runs(store, [run_id])
    assert "curves.parquet" in problem


def test_a_run_id_cannot_point_outside_the_folder(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path / "a", "lgvit")
    (run_id,) = store.run_ids()
    change(store, run_id, {"run_id": f"../../private/{run_id}"})
    _, (problem,) = load_runs(store, [run_id])
    assert f"../../private/{run_id}" in problem


def broken(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Nested data with a wrong value at each place in turn."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*path, key), None
            yield from broken(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:2]):
            yield from broken(value, (*path, index))
        yield path, []
    elif isinstance(content, str):
        yield path, {"a": 1}
        yield path, "\x1b[31mred\x1b[0m"
    else:
        yield path, "text"
        yield path, -1


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    whole = json.loads(json.dumps(content))
    parent = whole
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return whole


def test_a_record_with_any_damage_is_left_out_or_shown(smoke: SmokeRun, tmp_path: Path) -> None:
    """Each field in turn has a wrong value: either a sentence names the record, or all tables accept the run."""
    store = copied(smoke, tmp_path, "lgvit")
    (run_id,) = store.run_ids()
    path = store.run(run_id) / "record.json"
    whole = json.loads(path.read_text())
    whole["points"], whole["stages"] = whole["points"][:2], whole["stages"][:1]
    del whole[KEY]
    left_out = 0
    for place, value in broken(whole):
        content = json.dumps(replaced(whole, place, value))
        path.write_text(sealed(content) if place else content)
        runs, problems = load_runs(store, [run_id])
        assert len(runs) + len(problems) == 1, place
        left_out += len(problems)
        if runs:
            for make in (points, area_table, exit_table, routing_table, facts, data_rows):
                make(runs)
        else:
            assert run_id in problems[0]
            assert problems[0].isprintable()
    assert left_out > 100


@pytest.mark.parametrize("table", ["outcomes", "curves", "answers", "corners"])
def test_a_run_with_any_damaged_table_is_left_out(smoke: SmokeRun, tmp_path: Path, table: str) -> None:
    store = copied(smoke, tmp_path, "lgvit")
    (run_id,) = store.run_ids()
    path = store.run(run_id) / f"{table}.parquet"
    whole = pd.read_parquet(path)
    needed = whole.columns.difference(("score", "confidence", "nll"))  # these are left out of what is shared
    wrong = {f"without {column}": whole.drop(columns=column) for column in needed}
    wrong |= {
        f"text in {name}": whole.assign(**{name: "x"}) for name in ("threshold", "exit", "sample_id") if name in whole
    }
    if table != "curves":
        wrong |= {"one row short": whole.iloc[:-1], "a row twice": pd.concat([whole, whole.iloc[-1:]])}
        wrong["another exit"] = whole.assign(exit=whole["exit"] + 99)
    if table == "outcomes":
        wrong["no point"] = whole[whole["point"] == "static"]
    for what, content in wrong.items():
        content.to_parquet(path, index=False)
        runs, problems = load_runs(store, [run_id])
        assert runs == [], what
        (problem,) = problems
        assert run_id in problem
    for damaged in (b"", b"PAR1", path.read_bytes()[:-100]):
        path.write_bytes(damaged)
        assert load_runs(store, [run_id])[0] == []
    path.unlink()
    assert load_runs(store, [run_id])[0] == []
