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
STALE_SECONDS = 24 * 3600.0  # temporary files of another host are kept until they are this old


class StoreError(Exception):
    """The results folder cannot be read or written; the message names the file and the reason."""


class UnwritableError(StoreError):
    """The results folder cannot be written: the disk is full, or writing is not allowed. It affects every run."""


class DamagedError(StoreError):
    """A file is missing or was changed since it was written."""


NO_ROOM = {
    errno.ENOSPC: "free some space, then run the same command again: finished stages are kept",
    errno.EDQUOT: "your quota is used up; free some, then run the same command again: finished stages are kept",
    errno.EFBIG: "the file exceeds the limit of file sizes (ulimit -f); finished stages are kept",
}


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """The error for a path that cannot be written, with advice."""
    advice = NO_ROOM.get(error.errno or 0, "name a folder that can be written, with --results or --out")
    return UnwritableError(f"cannot write {path}: {error.strerror or error}; {advice}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically and durably; missing folders are created.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, durable=True)
    except OSError as error:
        raise unwritable(path, error) from error


def replace_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Write a file atomically in an existing folder.

    Args:
        path: path of the file.
        content: content of the file.
        durable: whether to flush the content to the disk, so that it survives a crash of the machine.

    Raises:
        OSError: the file cannot be written.
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


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file. Special files are not opened, because reading a pipe would block.

    Args:
        path: path of the file.
        max_bytes: largest size that is read.

    Raises:
        DamagedError: the file is missing, not a regular file, or too large.
        StoreError: the file cannot be read.
    """
    try:
        if not path.is_file():
            raise DamagedError(f"{path}: {'not a plain file' if path.exists() else 'missing'}")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > max_bytes:
        raise DamagedError(f"{path}: larger than {max_bytes:,} bytes, which is more than this file can have")
    return content


def unfinished(path: Path) -> Path:
    """A temporary path in the same folder, whose name contains the process id and host of the writer."""
    return path.with_name(f"{UNFINISHED}{os.getpid()}@{socket.gethostname()}-{uuid.uuid4().hex}")


def sweep(paths: Iterable[Path]) -> None:
    """Remove temporary files and folders of killed writers; those of running writers are kept."""
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
        return False  # another process has removed it


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
