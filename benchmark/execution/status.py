"""Where the runs of a grid stand: records, stages and heartbeats put together, and what a scheduler says. No torch."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages, Stage
from results.record import FailedRecord, FailureCause
from results.store.attempts import Attempt, Heartbeat, now
from results.store.files import is_alive
from results.store.folder import Store

State = Literal["done", "running", "queued", "failed", "blocked", "lost"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "blocked", "lost")
SILENT_SECONDS = 120.0
"""Whose lock we cannot see is lost when it has been silent for so long."""


@dataclass(frozen=True)
class Scheduled:
    """What a scheduler says of a stage that it knows.

    Attributes:
        state: whether it waits or works; ``lost`` if it has ended without the stage.
        job: its number there.
        reason: why it waits, or what became of it; empty where it works.
        log: the file that its output goes to.
    """

    state: Literal["queued", "running", "lost"]
    job: str
    reason: str = ""
    log: str | None = None


Scheduler = Callable[[Store, Plan], Mapping[str, Scheduled]]
"""From a plan to what is known of its stages, by name."""


def no_scheduler(store: Store, plan: Plan) -> Mapping[str, Scheduled]:
    """On a machine without one."""
    return {}


@dataclass(frozen=True)
class StageStatus:
    """A stage that is not there, and that somebody has worked on or a scheduler knows.

    Attributes:
        stage: of the plan.
        state: ``failed`` is its latest end; a later command tries it again.
        heartbeat: the last one.
        last: the last that was noted of an attempt.
        scheduled: what a scheduler says.
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
        """Since the last heartbeat."""
        return (now() - self.heartbeat.updated).total_seconds() if self.heartbeat else 0.0

    @property
    def note(self) -> str:
        """What there is to say of a stage that waits."""
        if self.scheduled is not None and self.scheduled.state == "queued":
            why = f" ({self.scheduled.reason})" if self.scheduled.reason else ""
            return f"job {self.scheduled.job} waits{why}"
        if self.last is None or self.last.outcome == "failed":
            return "failed before, is tried again" if self.last else ""
        beat = self.heartbeat
        at = f" in epoch {beat.epoch} of {beat.epochs}" if beat is not None and beat.epochs else ""
        return f"{self.last.outcome}{at}, goes on from its checkpoint"


@dataclass(frozen=True)
class RunStatus:
    """A run.

    Attributes:
        run: of the plan.
        state: of the run.
        at: the stage that it is at, if any is under way or keeps it from going on.
        record: of a failed one.
        failure: the kind of cause; of a blocked run that of what blocks it.
    """

    run: RunStages
    state: State
    at: StageStatus | None = None
    record: FailedRecord | None = None
    failure: FailureCause | None = None

    @property
    def sentence(self) -> str:
        """What there is to say, in a line."""
        if self.record is not None:
            return self.record.cause.partition("\n")[0]
        if self.at is None:
            return ""
        return self.at.note if self.state == "queued" else self.at.stage.name


@dataclass(frozen=True)
class Status:
    """Of a grid in a results folder, at one moment."""

    plan: Plan
    store: Store
    scheduled: Mapping[str, Scheduled] = field(default_factory=dict)

    @cached_property
    def stages(self) -> dict[str, StageStatus]:
        """Those that somebody has worked on or a scheduler knows, and that are not there."""
        try:
            known = {entry.name for entry in os.scandir(self.store.root / "progress")}
        except OSError:
            known = set()
        known |= self.scheduled.keys()
        return {stage.name: self._stage(stage) for stage in self.plan.missing_stages if stage.name in known}

    @cached_property
    def runs(self) -> list[RunStatus]:
        """In the order of the grid."""
        recorded = set(self.store.run_ids())
        return [self._run(run, run.run_id in recorded) for run in self.plan.runs]

    @property
    def totals(self) -> dict[State, int]:
        count = Counter(run.state for run in self.runs)
        return {state: count[state] for state in STATES}

    def waiting_for(self, stage: Stage) -> int:
        """How many missing runs need a stage."""
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
            if _is_alive(last, heartbeat, progress.is_being_made()):
                state = "running"
            elif scheduled is None:
                state = "lost"
            else:
                state = scheduled.state  # on its way back
        elif last is not None and last.outcome == "failed":
            state = "failed"
        elif scheduled is not None:
            state = scheduled.state
        return StageStatus(stage, state, heartbeat, last, scheduled)

    def _run(self, run: RunStages, recorded: bool) -> RunStatus:
        if run.run_id in self.plan.done_runs:
            return RunStatus(run, "done")
        ways = [self.stages[stage.name] for stage in run.chain if stage.name in self.stages]
        record = self.store.record(run.run_id) if recorded else None
        if record is not None and record.status == "done":  # since the plan was made
            return RunStatus(run, "done")
        if record is not None and not self._is_tried_again(record, ways):
            failed = [way for way in ways if way.state == "failed"]
            at = next((way for way in failed if way.stage.name == record.blocked_by), failed[0] if failed else None)
            return RunStatus(
                run, "blocked" if record.failure == "blocked" else "failed", at, record, cause_of(record, at)
            )
        for state in ("running", "lost", "queued", "failed"):
            for way in ways:
                if way.state == state:
                    return RunStatus(run, "queued" if state == "failed" else state, way)
        return RunStatus(run, "queued")

    def _is_tried_again(self, record: FailedRecord, ways: list[StageStatus]) -> bool:
        """Whether somebody is at what a failed run failed by: its own stage, or that which blocked it."""
        running = [way.stage for way in ways if way.state == "running"]
        return any(stage.name == record.blocked_by or self.plan.stages[stage] == 1 for stage in running)


def cause_of(record: FailedRecord, at: StageStatus | None) -> FailureCause:
    """The kind of cause of a failed run; that of the stage which blocks it."""
    if record.failure == "blocked" and at is not None and at.last is not None and at.last.failure is not None:
        return at.last.failure
    return record.failure


def status_of(plan: Plan, store: Store, scheduler: Scheduler = no_scheduler) -> Status:
    """Look everything up."""
    return Status(plan, store, scheduler(store, plan))


def last_lines(path: Path, count: int = 3) -> list[str]:
    """The last lines of a log or traceback that say anything, without what a terminal would obey."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 8192, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    clean = (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "", line).rstrip() for line in lines)
    return [line for line in clean if line][-count:]


def _is_alive(last: Attempt, heartbeat: Heartbeat | None, locked: bool | None) -> bool:
    """Whether the process that started an attempt is at work: its lock tells, or its heartbeat where locks cannot be seen."""
    here = last.by.host == socket.gethostname()
    if locked or (here and locked is False):
        return bool(locked)
    silent = (now() - (heartbeat.updated if heartbeat else last.at)).total_seconds() > SILENT_SECONDS
    return not silent and (not here or is_alive(last.by.pid))
