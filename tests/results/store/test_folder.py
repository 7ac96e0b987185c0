"""Files in the results folder are complete, and errors name damaged files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from results.record import Artifact, RunRecord
from results.sealed import sealed
from results.store.files import StoreError, write_file
from results.store.folder import Store
from tests.conftest import ROOT
from tests.results.builders import done_record, failed_record, stage_provenance


def test_a_stage_appears_atomically(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(FileNotFoundError):
        _write_half(store)
    assert not store.has_stage("scores-1")
    assert list(tmp_path.glob("stages/*")) == []
    with store.write_stage("scores-1", {"seed": 0}, stage_provenance()) as folder:
        (folder / "a").write_text("whole")
    assert store.has_stage("scores-1")
    assert store.artifact("scores-1", "a").read_text() == "whole"
    assert store.manifest("scores-1")["fields"] == {"seed": 0}


def _write_half(store: Store) -> None:
    with store.write_stage("scores-1", {}, stage_provenance()) as folder:
        (folder / "a").write_text("half")
        (folder / "none").read_text()


def test_a_stage_is_written_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for text in ("first", "second"):
        with store.write_stage("scores-1", {}, stage_provenance()) as folder:
            (folder / "a").write_text(text)
    assert store.artifact("scores-1", "a").read_text() == "first"
    assert list(tmp_path.glob("stages/.*")) == []


def test_a_changed_artifact_is_detected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.write_stage("scores-1", {}, stage_provenance()) as folder:
        (folder / "a").write_text("whole")
    (store.stage("scores-1") / "a").write_text("other")
    with pytest.raises(StoreError, match=re.escape(str(store.stage("scores-1")))):
        store.artifact("scores-1", "a")


def test_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "stages" / ".unfinished-abc"
    leftover.mkdir(parents=True)
    (leftover / "a").write_text("half")
    Store(tmp_path).prepare()
    assert not leftover.exists()


def record(run_id: str, status: str) -> RunRecord:
    return done_record(run_id) if status == "done" else failed_record(run_id)


def test_a_failed_record_is_replaced_and_a_finished_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for status, cause_seen in (("failed", "failed"), ("done", "done"), ("failed", "done")):
        with store.write_run(record("r", status)):
            pass
        assert store.record("r").status == cause_seen


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "run_id": "r"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs" / "r" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(StoreError, match=r"record\.json"):
        Store(tmp_path).record("r")


def test_a_record_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "mine" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(sealed(record("theirs", "done").model_dump_json()))
    with pytest.raises(StoreError, match="theirs"):
        Store(tmp_path).record("mine")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "stages/../../outside", "a\\..\\b"])
def test_paths_in_records_stay_inside_the_folder(path: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(repr(path))):
        Artifact(path=path, sha256="", bytes=0)


def test_a_full_disk_is_a_short_error_and_leaves_no_files(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk: write() fails in the middle."""
    code = (
        "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from pathlib import Path; from results.store.files import StoreError, write_file\n"
        "from results.store.folder import Store\n"
        "from tests.results.builders import stage_provenance\n"
        f"root = Path({str(tmp_path)!r})\n"
        "try:\n"
        "    with Store(root).write_stage('scores-1', {}, stage_provenance()) as folder:\n"
        "        (folder / 'a').write_bytes(b'x' * 10000)\n"
        "except StoreError as error: print(error)\n"
        "try: write_file(root / 'checkpoint.pt', b'x' * 10000)\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("cannot write") == 2
    assert "File too large" in done.stdout
    assert list(tmp_path.glob("stages/*")) == []
    assert not (tmp_path / "checkpoint.pt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["stages"]


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    write_file(tmp_path / "deep" / "a", b"one")
    write_file(tmp_path / "deep" / "a", b"two")
    assert (tmp_path / "deep" / "a").read_bytes() == b"two"
    assert len(list((tmp_path / "deep").iterdir())) == 1
