"""Work that has not ended: who makes a stage, how far it is, and what became of earlier attempts.

    progress/<stage>-<key>/lock            held by the process that makes the stage; its death releases it
    progress/<stage>-<key>/heartbeat.json  how far it is, every few seconds
    progress/<stage>-<key>/attempts.jsonl  a line for each start and each end

All of it goes when the stage is there. Nothing here imports torch.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from results.frozen import Frozen
from results.record import FailedRecord, FailureCause
from results.store.files import UNFINISHED, replace_file, sweep, unwritable
from results.store.locks import Lock, is_held

LOCK = "lock"
HEARTBEAT = "heartbeat.json"
ATTEMPTS = "attempts.jsonl"
Outcome = Literal["started", "failed", "stopped", "killed"]


class Worker(Frozen):
    """A process that makes stages."""

    pid: int
    host: str
    session: str
    """Of which command or submission: what fails in one is not tried again in it."""
    job: str | None = None
    """The scheduler's, with its array and the task in it."""
    array_job: str | None = None
    array_task: str | None = None
    log: str | None = None
    """The file that its output goes to; None where that is a terminal."""


def this_process(session: str, log: Path | None = None) -> Worker:
    """Ourselves; with Slurm's numbers where it started us."""
    return Worker(
        pid=os.getpid(),
        host=socket.gethostname(),
        session=session,
        job=os.environ.get("SLURM_JOB_ID"),
        array_job=os.environ.get("SLURM_ARRAY_JOB_ID"),
        array_task=os.environ.get("SLURM_ARRAY_TASK_ID"),
        log=None if log is None else str(log),
    )


class Heartbeat(Frozen):
    """How far a stage is. Epochs and steps are 0 where a stage does not train."""

    stage: str
    by: Worker
    device: str
    attempt: int
    started: datetime
    updated: datetime
    epoch: int = 0
    """1-based."""
    epochs: int = 0
    step: int = 0
    steps: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    """Of this stage."""


class Attempt(Frozen):
    """A line: somebody started to make a stage, or came to an end without it.

    ``stopped`` is an end that somebody asked for, behind a checkpoint; ``killed`` is noted by whoever comes next, of one who
    died without a word.
    """

    number: int
    at: datetime
    by: Worker
    outcome: Outcome
    failure: FailureCause | None = None
    sentence: str = ""
    details: str = ""
    """A traceback."""


class Progress:
    """The folder of one stage.

    Args:
        folder: it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lock(self) -> Lock:
        """To take; its holder makes the stage."""
        return Lock(self.folder / LOCK)

    def is_being_made(self) -> bool | None:
        """Whether another process holds the lock; None where files cannot be locked."""
        return is_held(self.folder / LOCK)

    def drop_lock(self) -> None:
        """Remove the lock's file when the work has ended, and the folder if it holds nothing else."""
        with suppress(OSError):
            (self.folder / LOCK).unlink()
            self.folder.rmdir()

    def heartbeat(self) -> Heartbeat | None:
        """The last one."""
        try:
            return Heartbeat.model_validate_json((self.folder / HEARTBEAT).read_bytes())
        except (OSError, ValidationError):
            return None

    def beat(self, heartbeat: Heartbeat) -> None:
        """Replace it. That this fails is no reason to stop a training."""
        with suppress(OSError):
            replace_file(self.folder / HEARTBEAT, heartbeat.model_dump_json().encode(), durable=False)

    def attempts(self) -> list[Attempt]:
        """Every line that is whole, oldest first."""
        try:
            lines = (self.folder / ATTEMPTS).read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            with suppress(ValidationError):  # the last may be torn
                found.append(Attempt.model_validate_json(line))
        return found

    def note(self, attempt: Attempt) -> None:
        """Add a line.

        Raises:
            StoreError: it cannot be written.
        """
        _append(self.folder / ATTEMPTS, attempt.model_dump_json(exclude_defaults=True))

    def tidy(self) -> None:
        """Remove what a killed writer of the checkpoint left."""
        sweep(self.folder.glob(f"{UNFINISHED}*"))


def now() -> datetime:
    return datetime.now(UTC)


def note_failed_run(folder: Path, record: FailedRecord, details: str) -> None:
    """Keep what a failed record said before it gives way.

    Raises:
        StoreError: it cannot be written.
    """
    kept = {
        "finished": record.provenance.finished.isoformat(),
        "failure": record.failure,
        "cause": record.cause,
        "blocked_by": record.blocked_by,
        "traceback": details,
    }
    _append(folder / ATTEMPTS, json.dumps(kept))


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            whole = not file.tell() or (file.seek(-1, os.SEEK_END) >= 0 and file.read(1) == b"\n")
            if not whole:
                line = f"\n{line}"  # the one before is torn
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise unwritable(path, error) from error
