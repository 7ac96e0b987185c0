"""Causes that no task could write down itself: it was killed for memory or time, its node failed, somebody cancelled it.

Slurm knows them. They are noted as ends of the stages' attempts, where records and `status` find causes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from benchmark.errors import UserError
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.scheduler import LOST, JobState
from benchmark.execution.slurm.submission import Submission, submissions
from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages
from results.record import Failure
from results.store.attempts import Attempt, Worker, now, this_process
from results.store.folder import Store

ACCOUNTING_SECONDS = 10.0
"""As long the accounting may be behind."""

CAUSES: dict[str, tuple[Failure, str]] = {
    "OUT_OF_MEMORY": ("oom", "Slurm killed it for memory; ask for more --mem"),
    "TIMEOUT": ("time-limit", "it ran into its time limit before its checkpoint; give it more --time or --signal-delay"),
    "DEADLINE": ("time-limit", "its deadline has passed"),
    "NODE_FAIL": ("node-failure", "its node failed, and Slurm did not requeue it"),
    "BOOT_FAIL": ("node-failure", "its node did not start"),
    "CANCELLED": ("cancelled", "its job was cancelled"),
    "REVOKED": ("cancelled", "its job was taken back"),
    "PREEMPTED": ("cancelled", "its job was preempted, and Slurm did not requeue it"),
    "FAILED": ("error", "its job failed without saying why"),
    "COMPLETED": ("error", "its job ended without making it"),
    LOST: ("killed", "its job has gone without a trace"),
}  # fmt: skip
"""Slurm's last word on a job to the kind of cause and what it means."""


KILLED = re.compile(r"exit code ((9|137):0|\d+:9)$")
"""SIGKILL, told by srun, the shell or Slurm."""


def sentence_of(job: str, state: JobState) -> tuple[Failure, str]:
    """The kind of cause, and a sentence for the record."""
    failure, why = CAUSES.get(state.state, ("error", f"Slurm says {state.state}"))
    if state.state == "FAILED" and KILLED.search(state.reason):
        failure, why = "killed", "one of its processes was killed; often that is for memory"
    seen = ", ".join(part for part in (state.state, state.reason, state.node and f"node {state.node}") if part)
    return failure, f"{why} (job {job}: {seen})"


def jobs_of(store: Store) -> dict[str, tuple[Submission, str]]:
    """Every stage and run that was ever submitted, to its latest submission and job."""
    found: dict[str, tuple[Submission, str]] = {}
    for submission, manifest in submissions(store.root):
        for array in manifest.arrays:
            for task in array.tasks:
                found |= dict.fromkeys(task.names, (submission, task.job))
    return found


def note_verdicts(plan: Plan, store: Store, submission: Submission, runs: Iterable[RunStages]) -> None:
    """Note why stages that runs lack are not there, where their jobs have ended and nobody else has said why."""
    jobs = jobs_of(store)
    silent: dict[str, str] = {}
    for run in runs:
        for stage in run.chain:
            if stage.name in jobs and not store.has_stage(stage.name):
                last = next(reversed(store.attempts(stage.name).attempts()), None)
                told = last is not None and last.outcome == "failed" and last.by.session == jobs[stage.name][0].name
                if not told:
                    silent[stage.name] = jobs[stage.name][1]
    states = _settled(silent.values())
    for name, job in silent.items():
        state = states.get(job)
        if state is not None and not state.in_flight:
            failure, sentence = sentence_of(job, state)
            of = jobs[name][0]
            note(store, this_process(of.name, of.log(job)), [name], failure, sentence)


def _settled(jobs: Iterable[str]) -> dict[str, JobState]:
    """States, once the accounting has caught up; empty where Slurm does not answer."""
    wanted = sorted(set(jobs))
    end = time.monotonic() + ACCOUNTING_SECONDS
    states: dict[str, JobState] = {}
    with suppress(UserError):
        while wanted:
            states = scheduler.states_of(wanted)
            if not any(state.state == LOST or state.runs for state in states.values()) or time.monotonic() > end:
                break
            time.sleep(1)
    return states


def note(store: Store, me: Worker, names: Sequence[str], failure: Failure | None, sentence: str) -> None:
    """Note the end of stages' last attempts: failed, or stopped where there is no cause."""
    for name in names:
        progress = store.attempts(name)
        number = sum(attempt.outcome == "started" for attempt in progress.attempts())
        outcome = "stopped" if failure is None else "failed"
        progress.note(Attempt(number=number, at=now(), by=me, outcome=outcome, failure=failure, sentence=sentence))
