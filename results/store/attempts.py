"""Unfinished stages: the process that works on each, its progress, and the outcomes of earlier attempts.

    progress/<stage>-<key>/lock            held by the process that works on the stage; released when it ends
    progress/<stage>-<key>/heartbeat.json  progress, written every few seconds
    progress/<stage>-<key>/attempts.jsonl  one line per start and per end

The folder is removed when the stage is finished.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, PositiveInt

from results.frozen import Frozen
from results.record import FailedRecord, FailureCause
from results.sealed import sealed, unsealed
from results.store.files import UNFINISHED, StoreError, read_file, replace_file, sweep, unwritable
from results.store.locks import Lock, is_held

LOCK = "lock"
HEARTBEAT = "heartbeat.json"
ATTEMPTS = "attempts.jsonl"
HEARTBEAT_BYTES = 2**16
ATTEMPTS_BYTES = 2**24
Outcome = Literal["started", "failed", "stopped", "killed"]


class Worker(Frozen):
    """A process that works on stages."""

    pid: PositiveInt
    host: str
    session: str
    """Id of the command or submission. A stage that failed is not repeated in the same session."""
    job: str | None = None
    """Id of the scheduler's job."""
    array_job: str | None = None
    """Id of the job array."""
    array_task: str | None = None
    """Id of the task in the array."""
    node: str | None = None
    """Slurm's name of the machine."""
    restarts: int = 0
    """Number of earlier starts of the job by the scheduler."""
    log: str | None = None
    """Path of the file with the output of the process; None for a terminal."""

    def counts_for(self, worker: Worker) -> bool:
        """Whether this process belongs to the worker's session, and not to an earlier start of the worker's own job."""
        earlier_start = self.job == worker.job and self.restarts < worker.restarts
        return self.session == worker.session and not earlier_start


def this_process(session: str, log: Path | None = None) -> Worker:
    """This process, with the ids of its Slurm job if it runs in one."""
    return Worker(
        pid=os.getpid(),
        host=socket.gethostname(),
        session=session,
        job=os.environ.get("SLURM_JOB_ID"),
        array_job=os.environ.get("SLURM_ARRAY_JOB_ID"),
        array_task=os.environ.get("SLURM_ARRAY_TASK_ID"),
        node=os.environ.get("SLURMD_NODENAME"),
        restarts=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        log=None if log is None else str(log),
    )


class Heartbeat(Frozen):
    """Progress of a stage. Epochs and steps are 0 if the stage does not train."""

    stage: str
    by: Worker
    device: str
    attempt: int
    started: AwareDatetime
    updated: AwareDatetime
    epoch: int = 0
    """Current epoch, 1-based."""
    epochs: int = 0
    step: int = 0
    steps: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    """Estimated remaining time of this stage."""


class Attempt(Frozen):
    """A line of the log: a process started to work on a stage, or ended without finishing it.

    ``stopped``: the process ended on request, after a checkpoint. ``killed``: the process ended without writing a line, which
    the next process adds.
    """

    number: int
    at: AwareDatetime
    by: Worker
    outcome: Outcome
    failure: FailureCause | None = None
    sentence: str = ""
    details: str = ""
    """A traceback."""

    def is_final_for(self, worker: Worker) -> bool:
        """Whether the stage failed in the worker's session, not counting earlier starts of the worker's own job."""
        return self.outcome == "failed" and self.by.counts_for(worker)


class Progress:
    """The progress of one unfinished stage.

    Args:
        folder: folder of the progress; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lock(self) -> Lock:
        """The lock of the stage. The process that holds it works on the stage."""
        return Lock(self.folder / LOCK)

    def is_locked(self) -> bool | None:
        """Whether another process holds the lock; None if the file system has no locks."""
        return is_held(self.folder / LOCK)

    def remove_lock(self) -> None:
        """Remove the lock file, and the folder if it is empty."""
        with suppress(OSError):
            (self.folder / LOCK).unlink()
            self.folder.rmdir()

    def heartbeat(self) -> Heartbeat | None:
        """The latest heartbeat; None without one."""
        try:
            return Heartbeat.model_validate(unsealed(read_file(self.folder / HEARTBEAT, HEARTBEAT_BYTES)))
        except (StoreError, ValueError):
            return None

    def write_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Replace the heartbeat. Errors are ignored, because a missing heartbeat must not stop the training."""
        with suppress(OSError):
            replace_file(self.folder / HEARTBEAT, sealed(heartbeat.model_dump_json()).encode(), durable=False)

    def attempts(self) -> list[Attempt]:
        """All attempts in the log, oldest first. Damaged and incomplete lines are ignored."""
        try:
            lines = read_file(self.folder / ATTEMPTS, ATTEMPTS_BYTES).splitlines()
        except StoreError:
            return []
        attempts = []
        for line in lines:
            with suppress(ValueError):
                attempts.append(Attempt.model_validate(unsealed(line)))
        return attempts

    def append(self, attempt: Attempt) -> None:
        """Append an attempt to the log.

        Raises:
            StoreError: the log cannot be written.
        """
        _append(self.folder / ATTEMPTS, attempt.model_dump_json(exclude_defaults=True))

    def remove_temporary_files(self) -> None:
        """Remove temporary files of killed writers of the checkpoint."""
        sweep(self.folder.glob(f"{UNFINISHED}*"))


def now() -> datetime:
    return datetime.now(UTC)


def log_failed_run(folder: Path, record: FailedRecord, details: str) -> None:
    """Append the record of a failed run to the log of its attempts.

    Raises:
        StoreError: the log cannot be written.
    """
    entry = {
        "finished": record.provenance.finished.isoformat(),
        "failure": record.failure,
        "cause": record.cause,
        "blocked_by": record.blocked_by,
        "traceback": details,
    }
    _append(folder / ATTEMPTS, json.dumps(entry))


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            ends_with_newline = not file.tell() or (file.seek(-1, os.SEEK_END) >= 0 and file.read(1) == b"\n")
            if not ends_with_newline:  # a writer was killed
                file.write(b"\n")
            file.write(sealed(line).encode() + b"\n")
    except OSError as error:
        raise unwritable(path, error) from error
