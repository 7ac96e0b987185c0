"""A lock belongs to one process at a time, and the death of its holder releases it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from results.store.attempts import Progress, this_process
from results.store.files import sweep, unfinished
from results.store.locks import Lock, can_lock, is_held
from tests.conftest import ROOT

HOLD = """
import sys
from pathlib import Path
from results.store.locks import Lock
assert Lock(Path(sys.argv[1])).acquire()
print("taken", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "taken\n"
    return holder


def test_sigkill_releases_a_lock_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "progress" / "finetune-1" / "lock"
    holder = hold(path)
    assert is_held(path)
    assert not Lock(path).acquire()
    assert is_held(path)  # asking does not change it
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert is_held(path) is False
    assert Lock(path).acquire()


def test_a_lock_whose_file_was_removed_is_taken_again(tmp_path: Path) -> None:
    """When a stage is finished, its progress folder is removed together with the lock file."""
    path = tmp_path / "finetune-1" / "lock"
    holder = hold(path)
    shutil.rmtree(path.parent)
    lock = Lock(path)
    assert lock.acquire()
    assert os.path.samestat(path.stat(), os.fstat(lock._file or -1))
    holder.communicate("")


def test_a_folder_is_tested_for_file_locks(tmp_path: Path) -> None:
    assert can_lock(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not Progress(tmp_path / "none").is_locked()


def test_files_of_a_live_writer_are_not_removed(tmp_path: Path) -> None:
    own = unfinished(tmp_path / "a")
    own.write_text("half")
    code = (
        "import pathlib, sys; from results.store.files import unfinished; print(unfinished(pathlib.Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "b"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    others = Path(done.stdout.strip())
    others.mkdir()
    sweep(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == [own]


def test_an_incomplete_line_does_not_hide_others(tmp_path: Path) -> None:
    from results.store.attempts import ATTEMPTS, Attempt, now

    progress = Progress(tmp_path)
    first = Attempt(number=1, at=now(), by=this_process("s"), outcome="started")
    progress.append(first)
    with (tmp_path / ATTEMPTS).open("a") as file:
        file.write('{"number": 2, "at"')
    assert progress.attempts() == [first]
    progress.append(first.model_copy(update={"number": 3}))
    assert [one.number for one in progress.attempts()] == [1, 3]
