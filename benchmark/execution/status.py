"""The state of every run of a grid, from records, attempts, heartbeats, locks and the scheduler. Imports no torch."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages, Stage
from results.record import FailedRecord, FailureCause
from results.store.attempts import Attempt, Heartbeat, now
from results.store.commands import Command
from results.store.files import is_alive
from results.store.folder import Store, StoreError

State = Literal["done", "running", "queued", "failed", "blocked", "lost"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "blocked", "lost")
SILENT_SECONDS = 120.0
"""A training without a heartbeat for this long is silent, or lost if its lock is invisible from this machine."""


@dataclass(frozen=True)
class Scheduled:
    """The scheduler's state of a stage.

    Attributes:
        state: of its job; ``lost`` if the job has ended without the stage.
        job: its job number.
        reason: why the job waits or has ended; empty while it runs.
        log: the job's output file.
    """

    state: Literal["queued", "running", "lost"]
    job: str
    reason: str = ""
    log: str | None = None


Scheduler = Callable[[Store, Plan], Mapping[str, Scheduled]]
"""Returns the scheduler's states of a plan's stages, by stage name."""


def no_scheduler(store: Store, plan: Plan) -> Mapping[str, Scheduled]:
    """The `Scheduler` of a machine that has none."""
    return {}


@dataclass(frozen=True)
class StageStatus:
    """An unfinished stage that has attempts or a scheduled job.

    Attributes:
        stage: of the plan.
        state: ``failed`` describes the last attempt; a later command tries again.
        heartbeat: the last one.
        last: the last entry in the log of attempts.
        scheduled: the scheduler's state.
    """

    stage: Stage
    state: State
    heartbeat: Heartbeat | None
    last: Attempt | None
    scheduled: Scheduled | None

    @property
    def log(self) -> str | None:
        if self.last is not None and self.last.by.log:
            return self.last.by.log
        return self.scheduled.log if self.scheduled else None

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last heartbeat; 0 without one."""
        return (now() - self.heartbeat.updated).total_seconds() if self.heartbeat else 0.0

    @property
    def is_silent(self) -> bool:
        """Whether a running training has made no step for some time."""
        trains = self.heartbeat is not None and self.heartbeat.step < self.heartbeat.steps
        return self.state == "running" and trains and self.silent_seconds > SILENT_SECONDS

    @property
    def note(self) -> str:
        """Why a stage waits, or what happened to its last attempt."""
        if self.scheduled is not None and self.scheduled.state == "queued":
            reason = f" ({self.scheduled.reason})" if self.scheduled.reason else ""
            return f"job {self.scheduled.job} waits{reason}"
        if self.last is None or self.last.outcome == "failed":
            return "failed before, will be tried again" if self.last else ""
        heartbeat = self.heartbeat
        epoch = f" in epoch {heartbeat.epoch} of {heartbeat.epochs}" if heartbeat and heartbeat.epochs else ""
        return f"{self.last.outcome}{epoch}, resumes from its checkpoint"


@dataclass(frozen=True)
class RunStatus:
    """The state of a run.

    Attributes:
        run: of the plan.
        state: of the run.
        at: its current stage: the one that runs, waits or has failed; None if there is none.
        record: of a failed run.
        failure: the cause of the failure; for a blocked run, that of the stage that blocks it.
    """

    run: RunStages
    state: State
    at: StageStatus | None = None
    record: FailedRecord | None = None
    failure: FailureCause | None = None

    @property
    def sentence(self) -> str:
        """One line about the run: its error, or the state or name of its current stage."""
        if self.record is not None:
            return self.record.cause.partition("\n")[0]
        if self.state == "failed" and self.at is not None and self.at.last is not None:
            return self.at.last.sentence.partition("\n")[0]
        if self.at is None:
            return ""
        return self.at.note if self.state == "queued" else self.at.stage.name


@dataclass(frozen=True)
class Status:
    """The state of a grid in a results folder at one moment."""

    plan: Plan
    store: Store
    scheduled: Mapping[str, Scheduled] = field(default_factory=dict)

    @cached_property
    def stages(self) -> dict[str, StageStatus]:
        """By name, the unfinished stages that have attempts or a scheduled job."""
        try:
            known = {entry.name for entry in os.scandir(self.store.root / "progress")}
        except OSError:
            known = set()
        known |= self.scheduled.keys()
        return {stage.name: self._stage(stage) for stage in self.plan.missing_stages if stage.name in known}

    @cached_property
    def runs(self) -> list[RunStatus]:
        """The runs in the order of the grid."""
        recorded = set(self.store.run_ids()) - self.plan.damaged.keys()
        return [self._run(run, run.run_id in recorded) for run in self.plan.runs]

    @property
    def totals(self) -> dict[State, int]:
        count = Counter(run.state for run in self.runs)
        return {state: count[state] for state in STATES}

    @cached_property
    def gpu_hours(self) -> float:
        """GPU time of the grid's finished stages. Stages of a shared pass have equal parts of its time."""
        seconds = 0.0
        for stage in self.plan.stages:
            if self.plan.is_done(stage):
                with suppress(StoreError):
                    made = self.store.provenance(stage.name)
                    on_gpu = made.machine.device.startswith("cuda")
                    seconds += made.seconds / made.shared_pass * made.machine.ranks * on_gpu
        return seconds / 3600

    def waiting_for(self, stage: Stage) -> int:
        """Number of missing runs that need a stage."""
        return self._needed[stage]

    @cached_property
    def _needed(self) -> Counter[Stage]:
        return Counter(stage for run in self.plan.missing_runs for stage in run.chain)

    def _stage(self, stage: Stage) -> StageStatus:
        progress = self.store.progress(stage.name)
        attempts, heartbeat = progress.attempts(), progress.heartbeat()
        scheduled = self.scheduled.get(stage.name)
        last = attempts[-1] if attempts else None
        state: State = "queued"
        if last is not None and last.outcome == "started":
            if _is_alive(last, heartbeat, progress.is_locked()):
                state = "running"
            elif scheduled is None:
                state = "lost"
            else:
                state = scheduled.state  # its job was requeued
        elif last is not None and last.outcome == "failed":
            state = "failed"
        elif scheduled is not None:
            state = scheduled.state
        return StageStatus(stage, state, heartbeat, last, scheduled)

    def _run(self, run: RunStages, recorded: bool) -> RunStatus:
        if run.run_id in self.plan.done_runs:
            return RunStatus(run, "done")
        stages = [self.stages[stage.name] for stage in run.chain if stage.name in self.stages]
        record = self.store.record(run.run_id) if recorded else None
        if record is not None and record.status == "done":  # finished after the plan was made
            return RunStatus(run, "done")
        if record is not None and not self._is_tried_again(record, stages):
            failed = [stage for stage in stages if stage.state == "failed"]
            blocking = (stage for stage in failed if stage.stage.name == record.blocked_by)
            at = next(blocking, failed[0] if failed else None)
            return RunStatus(
                run, "blocked" if record.failure == "blocked" else "failed", at, record, cause_of(record, at)
            )
        over = [stage for stage in stages if stage.state == "failed" and not self._is_expected(stage)]
        if over and not any(stage.state == "running" for stage in stages):
            # There is no record, because none could be written (a full disk) or nothing was left to write one.
            return RunStatus(run, "failed", over[0], failure=over[0].last.failure if over[0].last else None)
        for state in ("running", "lost", "queued", "failed"):
            for stage in stages:
                if stage.state == state:
                    return RunStatus(run, "queued" if state == "failed" else state, stage)
        return RunStatus(run, "queued")

    def _is_expected(self, stage: StageStatus) -> bool:
        """Whether a command or a job in flight will try a failed stage again, or record the failure."""
        return self._has_command or (stage.scheduled is not None and stage.scheduled.state != "lost")

    @cached_property
    def _has_command(self) -> bool:
        return Command.running(self.store) is not None

    def _is_tried_again(self, record: FailedRecord, stages: list[StageStatus]) -> bool:
        """Whether a process works on the stage that made the run fail: a stage of this run alone, or the one that blocks it."""
        running = [stage.stage for stage in stages if stage.state == "running"]
        return any(stage.name == record.blocked_by or self.plan.stages[stage] == 1 for stage in running)


def cause_of(record: FailedRecord, at: StageStatus | None) -> FailureCause:
    """The cause of a failed run; for a blocked run, that of the stage that blocks it."""
    if record.failure == "blocked" and at is not None and at.last is not None and at.last.failure is not None:
        return at.last.failure
    return record.failure


def status_of(plan: Plan, store: Store, scheduler: Scheduler = no_scheduler) -> Status:
    """The status of a plan now."""
    return Status(plan, store, scheduler(store, plan))


def last_lines(path: Path) -> list[str]:
    """The last three non-empty lines of a log or traceback, without control characters."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 8192, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    clean = (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "", line).rstrip() for line in lines)
    return [line for line in clean if line][-3:]


def _is_alive(last: Attempt, heartbeat: Heartbeat | None, locked: bool | None) -> bool:
    """Whether the process that started an attempt is alive: by its lock, or by its heartbeat where locks are invisible."""
    here = last.by.host == socket.gethostname()
    if locked or (here and locked is False):
        return bool(locked)
    silent = (now() - (heartbeat.updated if heartbeat else last.at)).total_seconds() > SILENT_SECONDS
    return not silent and (not here or is_alive(last.by.pid))
