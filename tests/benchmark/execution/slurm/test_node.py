"""The environment of a node: the frozen code, and data on its own disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry
from benchmark.execution.slurm.freeze import code_hash
from benchmark.execution.slurm.report_job import notify
from benchmark.execution.slurm.staging import stage_data
from benchmark.execution.slurm.submission import submissions
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import FakeSlurm, plan_of, run
from tests.conftest import ROOT


def test_the_hash_covers_what_computes(tmp_path: Path) -> None:
    names = ["methods/lgvit.py", "README.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    before = code_hash(tmp_path, names)
    (tmp_path / "README.md").write_text("another page")
    assert code_hash(tmp_path, names) == before
    with (tmp_path / names[0]).open("a") as file:
        file.write("# another line\n")
    assert code_hash(tmp_path, names) != before


def test_a_copy_of_the_code_differs_from_the_checkout(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.execution.slurm.jobs import other_code

    submission, _ = run(plan_of(store), store)
    assert submission is not None
    ((_, manifest),) = submissions(store.root)
    job = manifest.arrays[0].tasks[0].job
    slurm.says("squeue", f"{job.replace('_', '|')}|RUNNING|None|n1\n")
    assert other_code(store.root) == []
    monkeypatch.setattr("benchmark.execution.slurm.jobs.code_hash", lambda root: "another")
    assert other_code(store.root) == [
        f"submission {submission.name} runs the code {manifest.code}, the checkout is another"
    ]


def test_data_are_copied_to_the_node_once_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("dataset", "cifar-10")
    data_dir, disk, messages = tmp_path / "data", tmp_path / "disk", []
    folder = data_dir / card.folders[1]
    disk.mkdir()
    (folder / "deeper").mkdir(parents=True)
    (folder / card.markers[0].rstrip("/")).write_bytes(b"images")
    (folder / "deeper" / "more").write_bytes(b"more images")
    (data_dir / "weights").mkdir()
    monkeypatch.setenv("SLURM_TMPDIR", str(disk))
    root = stage_data(data_dir, [card], messages.append)
    assert root.is_relative_to(disk)
    copy = card.find(root)
    assert {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert (root / "weights").resolve() == data_dir / "weights"
    assert stage_data(data_dir, [card], messages.append) == root
    assert len(messages) == 1  # the second call used the existing copy
    (folder / card.markers[0].rstrip("/")).write_bytes(b"others")
    assert stage_data(data_dir, [card], messages.append) != root


def test_a_full_node_disk_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("dataset", "cifar-10")
    folder = tmp_path / "data" / card.folders[1]
    folder.mkdir(parents=True)
    with (folder / card.markers[0].rstrip("/")).open("wb") as file:
        file.truncate(1 << 43)  # a sparse file of eight terabytes
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    messages: list[str] = []
    assert stage_data(tmp_path / "data", [card], messages.append) == tmp_path / "data"
    assert str(folder) in messages[0]


def test_the_summary_goes_to_the_users_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notify(f"cat > {tmp_path}/mail", "3 of 4 runs are finished")
    assert (tmp_path / "mail").read_text() == "3 of 4 runs are finished\n"
    assert capsys.readouterr().out == ""
    notify("exit 3", "")
    assert "exit code 3" in capsys.readouterr().out
