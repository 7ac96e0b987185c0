"""The work of a task, on a node: makes its stages, records its runs, or writes the report; says why where it cannot."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from submitit.core.utils import UncompletedJobError
from submitit.helpers import TorchDistributedEnvironment

from benchmark import registry
from benchmark.errors import Interrupted, UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.slurm.failures import note_end, note_job_failures
from benchmark.execution.slurm.options import CPU_KINDS
from benchmark.execution.slurm.signals import SchedulerSignals
from benchmark.execution.slurm.submission import Settings, Submission
from benchmark.execution.slurm.task import SlurmTask
from benchmark.progress import Reporter
from benchmark.stages.plan import Plan
from benchmark.stages.stage import Stage
from datasets.api import DataError
from results.record import FailureCause
from results.store.attempts import Worker, this_process
from results.store.folder import Store

if TYPE_CHECKING:
    from benchmark.execution.task import StageFailure


class TaskFailedError(Exception):
    """Some of a task's work failed; the causes are noted, and Slurm shall show the task as failed."""


def work(task: SlurmTask, signals: SchedulerSignals) -> None:
    """Do what a task is for. What is there already is passed over.

    Raises:
        TaskFailedError: not everything could be made.
        SystemExit: the task was requeued.
    """
    submission = Submission(Path(task.folder))
    settings = submission.settings()
    signals.patience = settings.patience
    store = Store(settings.results)
    plan = submission.plan(store)
    reporter = Reporter(Console(file=sys.stdout, soft_wrap=True), lambda: signals.requested)
    job = job_id()
    if task.kind in CPU_KINDS and process() > 0:
        return
    if process() == 0:
        store.prepare()
        reporter.say(f"{task.kind} of {settings.grid} on {where()}, job {job}, start {restarts() + 1}")
    me = this_process(submission.name, submission.log(job))
    names = [name for unit in task.units for name in unit if not (store.has_stage(name) or store.is_done(name))]
    if not names and task.kind != "report":
        return
    if restarts() > settings.max_requeues:
        sentence = f"it was started {restarts() + 1} times; --max-requeues allows {settings.max_requeues + 1}"
        note_end(store, me, names, "time-limit", sentence)
        raise TaskFailedError(sentence)
    if task.kind == "report":
        _finish(plan, store, submission, reporter)
        return

    stages = {stage.name: stage for stage in plan.stages}
    possible: list[Stage] = []
    if task.kind != "records":
        possible = _startable(store, me, [stages[name] for name in names], reporter)
        if not possible:
            raise TaskFailedError(f"all of {len(names)} are blocked")
    left: list[str] = []
    try:
        if task.kind == "records":
            failed = _record(plan, store, submission, reporter, names)
        else:
            config = _config(task.kind, submission, _data_dir(settings, possible, reporter))
            failures, left = _make(plan, config, reporter, store, possible)
            if process() > 0:
                return
            for failure in failures:
                note_end(store, me, [failure.name], failure.cause, failure.sentence)
            failed = len(names) - len(possible) + len(failures)
    except (UserError, DataError) as error:
        cause: FailureCause = "missing-data" if isinstance(error, DataError) else "error"
        note_end(store, me, [stage.name for stage in possible if not store.has_stage(stage.name)], cause, str(error))
        raise TaskFailedError(str(error)) from error
    if signals.requested and left:
        _end_early(signals, store, me, left, settings.max_requeues)
    if failed:
        raise TaskFailedError(f"{failed} of {len(names)} failed")


def _config(kind: str, submission: Submission, data_dir: Path | None) -> ExecutionConfig:
    settings = submission.settings()
    return ExecutionConfig(
        results=settings.results,
        session=submission.name,
        device="cpu" if kind in CPU_KINDS else settings.device,
        threads=settings.threads,
        data_dir=data_dir,
        processes=1 if kind in CPU_KINDS else processes(),
        loader_processes=settings.loader_processes,
        log=submission.log(job_id()),
    )


def _end_early(signals: SchedulerSignals, store: Store, me: Worker, names: Sequence[str], requeues: int) -> None:
    """Be requeued, or note why that cannot be.

    Raises:
        SystemExit: requeued.
        TaskFailedError: not requeued.
    """
    try:
        signals.go()
    except subprocess.SubprocessError as error:
        sentence = f"Slurm does not requeue it ({error}); the same command goes on from the checkpoint"
    except UncompletedJobError:
        sentence = f"the time limit ended it {requeues + 1} times; give it more --time or --max-requeues"
    else:
        return
    note_end(store, me, names, "time-limit", sentence)
    raise TaskFailedError(sentence)


def _data_dir(settings: Settings, stages: Iterable[Stage], reporter: Reporter) -> Path | None:
    """Where this node reads datasets."""
    wanted = {stage.run.train.dataset.name: None for stage in stages if stage.kind != "cost"}
    if settings.data_dir is None or not settings.stage_data or not wanted:
        return settings.data_dir
    from benchmark.execution.slurm.staging import stage_data

    return stage_data(settings.data_dir, [registry.card("dataset", name) for name in wanted], reporter.say)


def _startable(store: Store, me: Worker, stages: Iterable[Stage], reporter: Reporter) -> list[Stage]:
    """Those whose parents are there; the others are noted as blocked, before minutes go into torch and data."""
    found = []
    for stage in stages:
        lacking = next((parent for parent in stage.parents if not store.has_stage(parent.name)), None)
        if lacking is None:
            found.append(stage)
            continue
        ends = [one for one in store.progress(lacking.name).attempts() if one.outcome != "started"]
        why = (ends[-1].sentence if ends else "") or "it is not there"
        if process() > 0:
            continue  # the first one notes it
        note_end(store, me, [stage.name], "blocked", f"blocked by {lacking.name}: {why}")
        reporter.say(f"{stage.name} is blocked by {lacking.name}: {why}")
    return found


def _make(
    plan: Plan, config: ExecutionConfig, reporter: Reporter, store: Store, stages: Sequence[Stage]
) -> tuple[list[StageFailure], list[str]]:
    """The stages that failed, and the names of those that the scheduler's signal left over."""
    _check_device(config)
    from benchmark.execution.task import run_task  # imports torch

    if config.processes > 1:
        TorchDistributedEnvironment().export()
    names = [stage.name for stage in stages]
    try:
        return run_task(plan, config, reporter, stages=names), []
    except Interrupted:
        return [], [name for name in names if not store.has_stage(name)]


def _record(plan: Plan, store: Store, submission: Submission, reporter: Reporter, run_ids: Sequence[str]) -> int:
    from benchmark.execution.task import run_task  # imports torch

    note_job_failures(store, [run for run in plan.runs if run.run_id in run_ids])
    run_task(plan, _config("records", submission, submission.settings().data_dir), reporter, stages=(), runs=run_ids)
    return sum(not store.is_done(run_id) for run_id in run_ids)


def _finish(plan: Plan, store: Store, submission: Submission, reporter: Reporter) -> None:
    """Records that no task wrote, and the report."""
    settings = submission.settings()
    missing = [run for run in plan.missing_runs if not (store.run(run.run_id) / "record.json").is_file()]
    if missing:
        _record(plan, store, submission, reporter, [run.run_id for run in missing])
    from benchmark.execution.slurm.final import write_report

    write_report(store, submission.report_runs(), settings, reporter.say)


def _check_device(config: ExecutionConfig) -> None:
    # timm uses torch.jit.script on import; nothing a user could do about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
    import torch  # only now: the task may have ended before

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if config.device == "auto" and not torch.cuda.is_available() and given:
        raise UserError(f"Slurm gave GPU {given} on {where()}, and torch cannot use it; --device cpu does without")


def job_id() -> str:
    """As submitit names it: ``array_task``, or the job's own."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def process() -> int:
    """The number of this one among those of the task."""
    return int(os.environ.get("SLURM_PROCID", "0"))


def processes() -> int:
    """Of the task: more than one train together."""
    return int(os.environ.get("SLURM_NTASKS", "1"))


def restarts() -> int:
    """How often Slurm has started this task before."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def where() -> str:
    return os.environ.get("SLURMD_NODENAME") or platform.node()
