"""An error of one dataset fails its runs and stages alone; a folder that cannot be written stops everything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from benchmark.execution.maker import StageMaker
from benchmark.execution.task import run_task
from results.store.files import StoreError, unwritable
from results.store.folder import Store
from results.store.locks import Lock
from tests.benchmark.execution.test_workers import execute_here, grid_file, maker_for
from tests.datasets.photos import write_photos
from tests.grids import bundled

PHOTOS = "folder:photos"


def damaged_photos(folder: Path) -> StageMaker:
    """A grid on photos and on bundled images. After the plan is made, the photos are overwritten."""
    write_photos(folder / "photos")
    grid = grid_file(folder, epochs=1, datasets=[PHOTOS, bundled()], methods=["static"], exits=None)
    maker = maker_for(grid, folder / "results")
    for photo in (folder / "photos").glob("*/*"):
        photo.write_bytes(b"no image")
    return maker


def test_the_runs_on_another_dataset_go_on(tmp_path: Path) -> None:
    maker = damaged_photos(tmp_path)
    execute_here(maker)
    failed, done = (maker.store.record(run.run_id) for run in maker.plan.runs)
    assert done.status == "done"
    assert failed.status == "failed"
    assert failed.failure == "missing-data"
    assert "photos" in failed.cause


def test_data_that_differ_when_the_run_is_recorded_fail_that_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the task that records runs whose stages other tasks have made."""
    grid = grid_file(tmp_path, epochs=1, datasets=[bundled(), bundled(train=50)], methods=["static"], exits=None)
    maker = maker_for(grid, tmp_path / "results")
    first, second = maker.plan.runs
    stages = {stage.name for run in maker.plan.runs for stage in run.chain}
    assert run_task(maker.plan, maker.config, maker.reporter, stages=stages) == []
    data = maker.store.stage(first.scores.name) / "data.json"
    with monkeypatch.context() as patched:
        patched.setattr(Store, "artifact", lambda store, name, file: store.stage(name) / file)
        data.write_text(data.read_text().replace('"test": "', '"test": "0'))
        run_task(maker.plan, maker.config, maker.reporter, stages=(), runs=[first.run_id, second.run_id])
    assert maker.store.record(first.run_id).failure == "missing-data"
    assert maker.store.is_done(second.run_id)


def test_a_full_disk_stops_everything_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_file(tmp_path, epochs=1, datasets=[bundled(), bundled(train=50)], methods=["static"], exits=None)
    maker = maker_for(grid, tmp_path / "results")

    def full(path: Path, content: bytes) -> None:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise unwritable(path, error) from error

    monkeypatch.setattr("benchmark.training.loop.write_checkpoint", full)
    with pytest.raises(StoreError, match="No space left on device; free some space") as error:
        execute_here(maker)
    assert "\n" not in str(error.value)
    monkeypatch.undo()

    def cannot_acquire(lock: Lock) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Lock, "acquire", cannot_acquire)  # the first write of a stage
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        execute_here(maker)
    assert maker.store.run_ids() == []
