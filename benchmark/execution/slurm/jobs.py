"""Slurm's jobs of a results folder: stages in flight, their states, and jobs that run other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.failures import cause_of
from benchmark.execution.slurm.freeze import frozen_code
from benchmark.execution.slurm.scheduler import JobState
from benchmark.execution.slurm.submission import Submission, TaskEntry, latest_tasks, submissions
from benchmark.execution.status import Scheduled
from benchmark.stages.plan import Plan
from results.store.folder import Store


@dataclass(frozen=True)
class TaskInFlight:
    """A submitted task that waits or runs."""

    submission: Submission
    task: TaskEntry
    state: JobState


def tasks_in_flight(root: Path, grid: str | None = None) -> list[TaskInFlight]:
    """The submitted tasks of a results folder that wait or run.

    Args:
        root: the results folder.
        grid: the name of the only grid to consider.

    Raises:
        UserError: squeue does not respond.
    """
    earlier = submissions(root)
    live = scheduler.live_jobs({submission.owner for submission, _ in earlier}) if earlier else {}
    return [
        TaskInFlight(submission, task, live[task.job])
        for submission, manifest in earlier
        if grid in (None, manifest.grid)
        for task in manifest.tasks
        if task.job in live and live[task.job].in_flight
    ]


def in_flight(root: Path) -> dict[str, str]:
    """Job ids by name of the stages and runs that waiting or running tasks make.

    Raises:
        UserError: squeue does not respond.
    """
    return {name: one.task.job for one in tasks_in_flight(root) for name in one.task.names}


def other_code(root: Path) -> list[str]:
    """One sentence for every submission in flight whose code differs from the checkout's.

    Raises:
        UserError: squeue or git does not respond.
    """
    active = {one.submission.name: one.submission for one in tasks_in_flight(root)} if scheduler.is_installed() else {}
    here = frozen_code().hash if active else ""
    codes = {name: submission.manifest().code for name, submission in active.items()}
    return [
        f"submission {name} runs the code {code}, the checkout is {here}"
        for name, code in codes.items()
        if code != here
    ]


def unreadable_submissions(root: Path) -> list[str]:
    """One sentence for every submission whose manifest cannot be read, so that its jobs count as not submitted."""
    names: list[str] = []
    submissions(root, names)
    return [
        f"submission {name} cannot be read (permissions, or another version): its jobs are unknown" for name in names
    ]


def scheduled_stages(store: Store, plan: Plan) -> Mapping[str, Scheduled]:
    """Slurm's states of the missing stages that were submitted, by name; empty on a machine without Slurm.

    Raises:
        UserError: squeue does not respond.
    """
    tasks = latest_tasks(store.root)
    submitted = {stage.name: tasks[stage.name] for stage in plan.missing_stages if stage.name in tasks}
    if not submitted or not scheduler.is_installed():
        return {}
    owners = {submission.owner for submission, _ in submitted.values()}
    states = scheduler.states_of({task.job for _, task in submitted.values()}, owners)
    stages = {}
    for name, (submission, task) in submitted.items():
        state, path = states[task.job], submission.log(task.job)
        log = str(path)
        if state.waits:
            stages[name] = Scheduled("queued", task.job, state.reason, log)
        elif state.runs:
            stages[name] = Scheduled("running", task.job, "", log)
        else:
            stages[name] = Scheduled("lost", task.job, cause_of(task.job, state, path)[1], log)
    return stages
