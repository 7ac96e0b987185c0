"""`clean` removes what no grid names, but follows no links and leaves what others work on and what may be a grid's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from benchmark.cli.clean import command
from benchmark.errors import UserError
from benchmark.execution.cleaning import Unused, remove, unused
from benchmark.grid.load import Grid, load_grid
from benchmark.stages.graph import run_stages
from results.store.folder import Store
from tests.conftest import ROOT
from tests.grids import write_grid
from tests.results.builders import done_record, stage_provenance

OTHER = {"recipes": {"exits": {"lr": 0.02}}}


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return load_grid(write_grid(tmp_path / "kept.yaml", methods=["lgvit"]))


@pytest.fixture
def store(tmp_path: Path, grid: Grid) -> Store:
    """The results of the grid, and of another one whose exits train with another learning rate."""
    store = Store(tmp_path / "results")
    make(grid, store)
    make(load_grid(write_grid(tmp_path / "elsewhere.json", methods=["lgvit"], **OTHER)), store)
    return store


def make(grid: Grid, store: Store) -> None:
    for run in map(run_stages, grid.runs):
        for stage in run.chain:
            if not store.has_stage(stage.name):
                with store.write_stage(stage.name, stage.fields, stage_provenance()) as folder:
                    (folder / "weights").write_bytes(bytes(1000))
        with store.write_run(done_record(run.run_id)):
            pass


def names(entries: list[Unused]) -> list[str]:
    return [f"{entry.part}/{entry.name.partition('-')[0]}" for entry in entries]


def clean(entries: list[Unused], store: Store) -> list[str]:
    return [reason for _, reason in remove(entries, store) if reason is not None]


def content(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.name != ".lock"}


def test_only_what_no_grid_names_is_removed(grid: Grid, store: Store, tmp_path: Path) -> None:
    alone = Store(tmp_path / "alone")
    make(grid, alone)
    (alone.root / "progress").mkdir()
    (store.progress_dir("exits-0123456789abcdef")).mkdir(parents=True)
    entries = unused([grid], store)
    assert names(entries) == ["runs/lgvit", "stages/exits", "stages/scores", "progress/exits"]
    assert entries[1].bytes > 1000
    assert clean(entries, store) == []
    assert content(store) == content(alone)
    assert unused([grid], store) == []


@pytest.mark.parametrize("name", ["imported-vit-0123abcd", "external-theirs-0123abcd"])
def test_runs_outside_grids_stay(grid: Grid, store: Store, name: str) -> None:
    with store.write_run(done_record(name)):
        pass
    assert name not in [entry.name for entry in unused([grid], store)]


def test_links_are_not_followed(grid: Grid, store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (store.root / "stages" / "exits-0123456789abcdef").symlink_to(outside)
    entries = unused([grid], store)
    inside = store.stage(next(entry.name for entry in entries if entry.name.startswith("exits")))
    (inside / "link").symlink_to(outside)
    assert clean(entries, store) == []
    assert not inside.exists()
    assert (outside / "file").exists()
    assert (store.root / "stages" / "exits-0123456789abcdef").is_symlink()
    (store.root / "runs").rename(tmp_path / "runs")
    (store.root / "runs").symlink_to(tmp_path / "runs")
    assert unused([], store)
    assert not [entry for entry in unused([], store) if entry.part == "runs"]


def test_what_others_work_on_stays(grid: Grid, store: Store) -> None:
    entries = unused([grid], store)
    code = (
        "import sys; from pathlib import Path; from results.store.locks import Lock\n"
        "assert Lock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    lock = store.progress(entries[1].name).lock().path
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    (reason,) = clean(entries, store)
    assert "process" in reason
    assert store.has_stage(entries[1].name)
    holder.communicate()
    assert names(unused([grid], store)) == ["stages/exits", "progress/exits"]
    assert clean(unused([grid], store), store) == []
    assert names(unused([grid], store)) == []


def test_nothing_is_removed_beside_a_running_command(grid: Grid, store: Store) -> None:
    entries = unused([grid], store)
    with FileLock(store.root / ".lock"), pytest.raises(UserError, match="running"):
        clean(entries, store)
    assert unused([grid], store) == entries


def test_results_of_missing_weights_stay(grid: Grid, store: Store, tmp_path: Path) -> None:
    """Where a grid's weights are not on this machine, results of other weights may be its own."""
    backbone = {"name": "vit_nano_patch4_28", "set": {"weights": "timm:no.where", "mean": [0.5], "std": [0.5]}}
    absent = load_grid(write_grid(tmp_path / "absent.json", backbones=[backbone]))
    fields = {"weights": "0" * 64, "parents": {}}
    with store.write_stage("finetune-0123456789abcdef", fields, stage_provenance()):
        pass
    with store.write_stage(
        "exits-0123456789abcdef", {"parents": {"0:finetune": "0123456789abcdef"}}, stage_provenance()
    ):
        pass
    pretrained = {"finetune-0123456789abcdef", "exits-0123456789abcdef"}
    assert pretrained <= {entry.name for entry in unused([grid], store)}
    assert not pretrained & {entry.name for entry in unused([grid, absent], store)}
    assert names(unused([grid, absent], store)) == ["runs/lgvit", "stages/exits", "stages/scores"]


def test_imported_runs_stay(store: Store) -> None:
    with store.write_run(done_record("imported-vit-0123abcd")):
        pass
    with store.write_stage("scores-0123456789abcdef", {"parents": "imported-0123"}, stage_provenance()):
        pass
    assert not {"imported-vit-0123abcd", "scores-0123456789abcdef"} & {entry.name for entry in unused([], store)}


@pytest.mark.slow
def test_the_command_lists_first_and_removes_on_request(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # it has kept.yaml
    monkeypatch.setenv("COLUMNS", "80")
    before = content(store)
    listed = CliRunner().invoke(command, ["--results", str(store.root)], catch_exceptions=False)
    assert content(store) == before
    assert "kept.yaml" in listed.output
    assert "--yes" in listed.output
    assert max(map(len, listed.output.splitlines())) <= 80
    assert len(unused([load_grid(tmp_path / "kept.yaml")], store)) == 3
    kept = ["--results", str(store.root), "--grid", str(tmp_path / "elsewhere.json"), "--yes"]
    CliRunner().invoke(command, kept, catch_exceptions=False)
    assert content(store) == before
    CliRunner().invoke(command, ["--results", str(store.root), "--yes"], catch_exceptions=False)
    assert unused([load_grid(tmp_path / "kept.yaml")], store) == []


def test_a_grid_that_cannot_be_read_stops_the_command(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("site_name: no grid\n")
    write_grid(tmp_path / "broken.yaml", methods=["lgvti"])
    before = content(store)
    with pytest.raises(UserError, match=r"broken\.yaml"):
        CliRunner().invoke(command, ["--results", str(store.root), "--yes"], catch_exceptions=False)
    assert content(store) == before
