"""The files beside a record have the hashes of the record, or they are named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from results.sealed import sealed, unsealed
from results.store.folder import Store, StoreError
from results.store.run_files import TABLES, check_run_files
from results.tables.loading import load_runs
from tests.conftest import SmokeRun


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink, pipe])
@pytest.mark.parametrize("file", ["record.json", *(f"{name}.parquet" for name in TABLES)])
def test_a_damaged_file_is_named_and_its_run_left_out(
    smoke: SmokeRun, tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    store = Store(tmp_path)
    for name in ("lgvit", "static"):
        (source,) = smoke.results.glob(f"runs/{name}-*")
        shutil.copytree(source, store.run(source.name))
    broken, sound = store.run_ids()
    record = store.record(broken)
    damage(store.run(broken) / file)
    (run,), (problem,) = load_runs(store, [broken, sound])
    assert run.record.run_id == sound
    assert str(store.run(broken) / file) in problem
    if file != "record.json":
        with pytest.raises(StoreError, match=file):
            check_run_files(store.run(broken), record)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '{"a": 1}', '{"a": 1, "sha256": 5}', '{"sha256": "00"}', "[" * 100_000, '{"a":' * 9_999],
)
def test_json_without_a_fitting_checksum_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unsealed(text.encode())


def test_the_formatting_of_sealed_json_does_not_matter() -> None:
    content = {"b": [1.5, None, "ü"], "a": {"z": 1, "y": float("inf")}}
    for indent in (None, 4):
        assert unsealed(sealed(json.dumps(content), indent).encode()) == content
