"""File locks that the death of their holder releases, whatever it dies of.

The kernel holds them for a process, not for its children; on a file system that several machines share they hold across
machines where it passes locks on (NFS does, Lustre when mounted with flock). The package filelock is not used here: where a
file system cannot lock, it turns to files that outlive their maker.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

HELD = {errno.EACCES, errno.EAGAIN}
MISSING = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


class CannotLockError(Exception):
    """This file system has no locks."""


class Lock:
    """Of a file, for this process; within one process only one may be made for a file.

    Args:
        path: of the file, which is made; its folder may be removed while others wait.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Take it, if nobody has it.

        Raises:
            CannotLockError: the file system has no locks.
            OSError: the file cannot be made.
        """
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                continue  # the folder has just been removed
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(file)
                if error.errno in HELD:
                    return False
                if error.errno in MISSING:
                    raise CannotLockError(str(self.path)) from error
                raise
            if os.fstat(file).st_nlink:
                self._file = file
                return True
            os.close(file)  # it was removed before we had it: a lock on a file that nobody else will find

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def can_lock(folder: Path) -> bool:
    """Whether files in a folder can be locked."""
    lock = Lock(folder / f".can-lock-{os.getpid()}")
    try:
        return lock.take()
    except CannotLockError:
        return False
    finally:
        lock.release()
        lock.path.unlink(missing_ok=True)


def is_held(path: Path) -> bool | None:
    """Whether another process has it; None where files cannot be locked.

    Not for a lock of our own: the kernel releases it when a process closes any descriptor of the file.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in HELD else None
    finally:
        os.close(file)
    return False
