"""File locks that the kernel releases when their holder ends.

A lock belongs to one process, not to its children. On a shared file system it works across machines if the file system
forwards locks (NFS does, Lustre if mounted with flock). The package filelock is not used for stages: on a file system
without locks, it falls back to lock files, which remain after a process was killed. It does hold the whole folder for one local
command (`results.store.commands.LOCK`), because that process also asks whether the lock is held, which would release a `Lock`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

HELD = {errno.EACCES, errno.EAGAIN}
MISSING = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


class CannotLockError(Exception):
    """The file system has no locks."""


class Lock:
    """A lock on a file. A process may create only one per file.

    Args:
        path: path of the file, which is created; its folder may be removed while other processes wait.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Acquire the lock if no process holds it.

        Returns:
            whether the lock was acquired.

        Raises:
            CannotLockError: the file system has no locks.
            OSError: the file cannot be created.
        """
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                continue  # the folder was removed in the meantime
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
            os.close(file)  # the file was removed in the meantime, so no other process would see this lock

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def can_lock(folder: Path) -> bool:
    """Whether files in a folder can be locked."""
    lock = Lock(folder / f".can-lock-{os.getpid()}")
    try:
        return lock.acquire()
    except CannotLockError:
        return False
    finally:
        lock.release()
        lock.path.unlink(missing_ok=True)


def is_held(path: Path) -> bool | None:
    """Whether another process holds the lock; None if the file system has no locks.

    Must not be called for a lock of this process: the kernel releases a lock when the process closes any descriptor of the
    file.
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
