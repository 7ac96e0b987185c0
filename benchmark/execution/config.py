"""How a plan is executed: all settings that a process needs in addition to the plan. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ExecutionConfig(BaseModel):
    """Settings of one command or submission. Serialisable as JSON; the same for all of its processes, but for `worker`.

    Only `device`, `threads`, `processes` and, where `threads` is None, `workers` can change bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: Path
    """The results folder."""
    session: str = ""
    """Identifies the command or submission: a stage that failed in a session is not tried again in it."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each process; None for torch's default, shared among the processes on this machine."""
    data_dir: Path | None = None
    """The user's folder of datasets and weights, if any."""
    processes: int = Field(default=1, ge=1)
    """Processes (ranks) on a node that share each training and scoring: one per GPU, or on the CPU."""
    workers: int = Field(default=1, ge=1)
    """Processes on this machine that take different stages of the plan."""
    worker: int = Field(default=0, ge=0)
    """Number of this worker, 0-based."""
    loader_processes: int | None = Field(default=None, ge=0)
    """Processes that load batches; None to choose by the data and the machine."""
    log: Path | None = None
    """File that holds the output of this process; None for a terminal."""
    hang_minutes: float = Field(default=15.0, gt=0)
    """A training that makes no step for this long is ended, and resumes from its checkpoint."""
    lock_seconds: float | None = Field(default=None, gt=0)
    """A task ends if other sessions have been making all that is left of it for this long; None to wait for them."""
    join: bool = False
    """Whether other commands may run in the folder: failed records, which may be theirs, are not removed."""
    tensorboard: bool = False
    """Whether training curves for TensorBoard are written beside the results."""
    kill_each_training: bool = False
    """Rehearsals only: each training is killed with SIGKILL once, after its first checkpoint."""
