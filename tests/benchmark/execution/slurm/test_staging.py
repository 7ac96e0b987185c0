"""Copies of the data on a node's own disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.execution.slurm import node, staging
from benchmark.execution.slurm.staging import stage_data
from datasets.api import DataError
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import FakeSlurm, plan_of, run


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


def test_a_copy_that_was_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("dataset", "cifar-10")
    data_dir, disk, messages = tmp_path / "data", tmp_path / "disk", []
    folder = data_dir / card.folders[1]
    folder.mkdir(parents=True)
    disk.mkdir()
    (folder / card.markers[0].rstrip("/")).write_bytes(b"images")
    (folder / "more").write_bytes(b"more images")
    monkeypatch.setenv("SLURM_TMPDIR", str(disk))
    root = disk / f"lgvit-bench-{os.getuid()}" / staging._version(data_dir, [folder])
    partial = root / folder.relative_to(data_dir).with_name(f".{folder.name}-partial")  # of a killed process
    partial.mkdir(parents=True)
    (partial / "half").write_bytes(b"half an image")
    assert stage_data(data_dir, [card], messages.append) == root
    assert {path.name for path in card.find(root).iterdir()} == {path.name for path in folder.iterdir()}
    assert not partial.exists()


def test_data_are_read_in_place_where_the_copy_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when two jobs fill the node's disk together."""

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    card, messages = registry.card("dataset", "cifar-10"), []
    folder = tmp_path / "data" / card.folders[1]
    folder.mkdir(parents=True)
    (folder / card.markers[0].rstrip("/")).write_bytes(b"images")
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    monkeypatch.setattr(staging, "_copy", full)
    assert stage_data(tmp_path / "data", [card], messages.append) == tmp_path / "data"
    assert "No space left on device" in messages[0]


def test_data_are_read_in_place_where_the_node_has_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, messages = registry.card("dataset", "cifar-10"), []
    folder = tmp_path / "data" / card.folders[1]
    folder.mkdir(parents=True)
    (folder / card.markers[0].rstrip("/")).write_bytes(b"images")
    (tmp_path / "disk").write_bytes(b"")
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "disk"))
    assert stage_data(tmp_path / "data", [card], messages.append) == tmp_path / "data"
    assert "is read in place" in messages[0]


def test_a_dataset_that_cannot_be_copied_ends_no_stage_of_another(
    slurm: FakeSlurm, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stages that need it fail when they read it."""
    submission, _ = run(plan_of(store, methods=["static"], seeds=[0]), store, stage_data=True)
    assert submission is not None
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    task = node.NodeTask(str(submission.folder), "finetune", "1")
    execution = task.settings.execution.model_copy(update={"data_dir": tmp_path})
    task.settings = task.settings.model_copy(update={"execution": execution})

    def missing(*arguments: object) -> Path:
        raise DataError("CIFAR-10 is not there")

    monkeypatch.setattr(node, "stage_data", missing)
    assert task._data_dir([stage.name for stage in task.plan.stages]) == tmp_path
    assert "CIFAR-10 is not there" in capsys.readouterr().out


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
