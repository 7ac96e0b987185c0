"""Atomic writes: a file or folder appears complete or not at all, even if several processes write and any is killed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

UNFINISHED = ".unfinished-"
WRITER = re.compile(r"(\d+)@(.+)-[0-9a-f]{32}")
STALE_SECONDS = 24 * 3600.0
"""Temporary files of another host count as live until they are this old."""


class StoreError(Exception):
    """The results folder cannot be read or written; the message says which file and why."""


class DamagedError(StoreError):
    """A file is missing, or is not what was written."""


NO_ROOM = {
    errno.ENOSPC: "free some space, then run the same command again: finished stages are kept",
    errno.EDQUOT: "your quota is used up; free some, then run the same command again: finished stages are kept",
    errno.EFBIG: "a file may not grow that large here (ulimit -f); finished stages are kept",
}


def unwritable(path: Path, error: OSError) -> StoreError:
    """The error for a path that cannot be written, with advice."""
    advice = NO_ROOM.get(error.errno or 0, "name a folder that you may write to with --results")
    return StoreError(f"cannot write {path}: {error.strerror or error}; {advice}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically and durably; missing folders are made.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, durable=True)
    except OSError as error:
        raise unwritable(path, error) from error


def replace_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Write a file atomically in an existing folder.

    Args:
        path: of the file.
        content: of the file.
        durable: whether to flush it to the disk, so that it survives a crash of the machine.

    Raises:
        OSError: it cannot be written.
    """
    temporary = unfinished(path)
    try:
        temporary.write_bytes(content)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def read_file(path: Path, most_bytes: int) -> bytes:
    """A plain file whole. Special files are not opened: reading a pipe would block.

    Args:
        path: of the file.
        most_bytes: a larger file is not read.

    Raises:
        DamagedError: it is missing, no plain file, or too large.
        StoreError: it cannot be read.
    """
    try:
        if not path.is_file():
            raise DamagedError(f"{path}: {'not a plain file' if path.exists() else 'missing'}")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > most_bytes:
        raise DamagedError(f"{path}: larger than {most_bytes:,} bytes, which is more than this file can have")
    return content


def unfinished(path: Path) -> Path:
    """A temporary path beside this one; its name holds the process id and host of the writer."""
    return path.with_name(f"{UNFINISHED}{os.getpid()}@{socket.gethostname()}-{uuid.uuid4().hex}")


def sweep(paths: Iterable[Path]) -> None:
    """Remove temporary files and folders of killed writers; those of running ones stay."""
    for path in paths:
        if not _being_written(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _being_written(path: Path) -> bool:
    writer = WRITER.fullmatch(path.name.removeprefix(UNFINISHED))
    if writer is None:
        return False
    if writer[2] == socket.gethostname():
        return is_alive(int(writer[1]))
    try:
        return time.time() - path.stat().st_mtime < STALE_SECONDS
    except OSError:
        return False  # it was removed in the meantime


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
