"""The command that runs in a results folder, in the file command.json; the command holds the folder's lock."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, PositiveInt

from results.frozen import Frozen
from results.sealed import sealed, unsealed
from results.store.attempts import now
from results.store.files import StoreError, is_alive, read_file, write_file
from results.store.folder import Store

LOCK = ".lock"
FILE = "command.json"
FILE_BYTES = 2**16


def new_session() -> str:
    """An id for a command: the time, and random digits."""
    return f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Command(Frozen):
    """A command and the grid that it runs."""

    pid: PositiveInt
    host: str
    session: str
    """Id of the command, used in attempts and in the name of the log folder."""
    grid: str
    source: Path | None = None
    """The grid's file."""
    started: AwareDatetime

    @classmethod
    @contextmanager
    def open(cls, store: Store, grid: str, source: Path | None = None) -> Iterator[Command]:
        """Write this process as the running command, until the block ends. The caller holds the folder's lock.

        Raises:
            StoreError: the file cannot be written.
        """
        command = cls(
            pid=os.getpid(), host=socket.gethostname(), session=new_session(), grid=grid, source=source, started=now()
        )
        path = store.root / FILE
        write_file(path, sealed(command.model_dump_json()).encode())
        try:
            yield command
        finally:
            path.unlink(missing_ok=True)

    @classmethod
    def running(cls, store: Store) -> Command | None:
        """The command that holds the folder's lock; None if no command runs."""
        try:
            command = cls.model_validate(unsealed(read_file(store.root / FILE, FILE_BYTES)))
        except (StoreError, ValueError):
            return None
        if command.host == socket.gethostname() and not is_alive(command.pid):
            return None
        try:
            with FileLock(store.root / LOCK, timeout=0):
                return None  # the command was killed, and another process has its process id
        except Timeout:
            return command
