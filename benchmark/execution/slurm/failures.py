"""Causes of failures that only Slurm knows: a task was killed for memory or time, its node failed, or it was cancelled.

They are noted as ends of the stages' attempts, where records and `status` read causes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.errors import UserError
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.scheduler import LOST, JobState
from benchmark.execution.slurm.submission import Submission, TaskEntry, latest_tasks
from benchmark.execution.slurm.task import NOT_REQUEUED
from benchmark.stages.stage import RunStages
from results.record import FailureCause
from results.store.attempts import Attempt, Worker, now, this_process
from results.store.folder import Store

ACCOUNTING_SECONDS = 10.0
"""Maximum time to wait for the accounting, which lags behind."""

CAUSES: dict[str, tuple[FailureCause, str]] = {
    "OUT_OF_MEMORY": ("oom", "Slurm killed it for memory; request more --mem"),
    "TIMEOUT": ("time-limit", "it reached its time limit before its checkpoint; give it more --time or --signal-delay"),
    "DEADLINE": ("time-limit", "its deadline has passed"),
    "NODE_FAIL": ("node-failure", "its node failed, and Slurm did not requeue it"),
    "BOOT_FAIL": ("node-failure", "its node did not start"),
    "CANCELLED": ("cancelled", "its job was cancelled"),
    "REVOKED": ("cancelled", "its job was revoked"),
    "PREEMPTED": ("cancelled", "its job was preempted, and Slurm did not requeue it"),
    "FAILED": ("error", "its job failed without noting a cause"),
    "COMPLETED": ("error", "its job ended without making it"),
    LOST: ("killed", "Slurm no longer knows its job"),
}  # fmt: skip
"""Kind of cause and description by the final state of a job."""
CANCELLED_EARLY: tuple[FailureCause, str] = ("cancelled", "its job was cancelled before it started")
"""Of a job that Slurm does not know and that has no log: a task that is cancelled while its array waits leaves no trace."""
EXIT_CODES: dict[str, tuple[FailureCause, str]] = {
    r"(9|137):0|\d+:9": ("killed", "one of its processes was killed, often because memory ran out"),
    "0:53": ("error", "its node cannot open the log: the results folder must be on a file system that all nodes share"),
    f"{NOT_REQUEUED}:0": ("time-limit", "Slurm ended it and refused to requeue it; the same command resumes it"),
}
"""Causes by exit code, for jobs in the state FAILED. SIGKILL is 9 or 137, or the signal after the colon."""
KNOWN_TO_SLURM_ALONE = ("oom", "node-failure")
"""Causes that replace the one recorded by a process of the task, which may only have seen the death of another process."""


def cause_of(job: str, state: JobState, log: Path) -> tuple[FailureCause, str]:
    """The kind of cause, and a sentence for the record.

    Args:
        job: its id.
        state: its final state.
        log: its log, which exists once it has started.
    """
    failure, meaning = CAUSES.get(state.state, ("error", f"Slurm reports {state.state}"))
    if state.state == LOST and not log.exists():
        failure, meaning = CANCELLED_EARLY
    if state.state == "FAILED":
        causes = (cause for code, cause in EXIT_CODES.items() if re.fullmatch(f"exit code ({code})", state.reason))
        failure, meaning = next(causes, (failure, meaning))
    details = ", ".join(part for part in (state.state, state.reason, state.node and f"node {state.node}") if part)
    return failure, f"{meaning} (job {job}: {details})"


def note_job_failures(store: Store, runs: Iterable[RunStages]) -> None:
    """Record causes for missing stages whose jobs have ended without recording one."""
    tasks = latest_tasks(store.root)
    unexplained: dict[str, bool] = {}
    for stage in {stage.name: stage for run in runs for stage in run.chain}.values():
        if stage.name not in tasks or store.has_stage(stage.name):
            continue
        submission, task = tasks[stage.name]
        noted = final_failure(store, stage.name, this_process(submission.name))
        if noted is None or (noted.failure in ("error", "killed") and len(task.units) == 1):
            unexplained[stage.name] = noted is not None
    owners = {tasks[name][0].owner for name in unexplained}
    states = _final_states({tasks[name][1].job for name in unexplained}, owners)
    for name, is_noted in unexplained.items():
        submission, task = tasks[name]
        state = states.get(task.job)
        if state is None or state.in_flight:
            continue
        log = submission.log(task.job)
        failure, sentence = cause_of(task.job, state, log)
        if not is_noted or failure in KNOWN_TO_SLURM_ALONE:
            worker = this_process(submission.name, log)
            worker = worker.model_copy(update={"job": task.job, "node": state.node or None})
            note_end(store, worker, [name], failure, sentence)


def _final_states(jobs: set[str], owners: set[int]) -> dict[str, JobState]:
    """States of jobs that should have ended, once accounting knows all ends; empty if Slurm does not respond."""
    deadline = time.monotonic() + ACCOUNTING_SECONDS
    states: dict[str, JobState] = {}
    with suppress(UserError):
        while jobs:
            states = scheduler.states_of(jobs, owners)
            if all(state.accounted for state in states.values()) or time.monotonic() > deadline:
                break
            time.sleep(1)
    return states


def last_failure(store: Store, name: str) -> Attempt | None:
    """The last attempt of a stage that has ended, if it failed."""
    ends = [attempt for attempt in store.progress(name).attempts() if attempt.outcome != "started"]
    return ends[-1] if ends and ends[-1].outcome == "failed" else None


def final_failure(store: Store, name: str, worker: Worker) -> Attempt | None:
    """The failure that ended the last attempt of a stage, if the worker's session counts it as final."""
    last = last_failure(store, name)
    return last if last and last.is_final_for(worker) else None


def note_cancelled(store: Store, submission: Submission, task: TaskEntry) -> None:
    """Record that a task was cancelled before it started, for each stage that it would have made."""
    if task.kind in ("records", "report"):
        return
    worker = this_process(submission.name, submission.log(task.job)).model_copy(update={"job": task.job})
    names = [name for name in task.names if not store.has_stage(name)]
    note_end(store, worker, names, "cancelled", f"its job was cancelled (job {task.job}, before it started)")


def note_end(store: Store, worker: Worker, names: Sequence[str], failure: FailureCause | None, sentence: str) -> None:
    """Record the end of the last attempt of stages: failed, or stopped if there is no cause."""
    for name in names:
        progress = store.progress(name)
        number = sum(attempt.outcome == "started" for attempt in progress.attempts())
        outcome = "stopped" if failure is None else "failed"
        progress.append(
            Attempt(number=number, at=now(), by=worker, outcome=outcome, failure=failure, sentence=sentence)
        )
