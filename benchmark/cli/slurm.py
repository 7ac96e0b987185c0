"""``--executor slurm`` of `run` and `retry`: show or submit the job arrays of a plan, and follow them on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.follow import follow
from benchmark.cli.selection import selection
from benchmark.cli.slurm_options import COMMAND_ONLY
from benchmark.cli.slurm_plan import counted_tasks, gpu_hours, show_arrays, show_scripts, show_starts
from benchmark.cli.units import size
from benchmark.environment import require_torch
from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.estimate import Estimator, total
from benchmark.execution.requirements import missing_data
from benchmark.execution.retrying import FailedTask, adjustment
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.freeze import SUBMISSIONS, frozen_code
from benchmark.execution.slurm.jobs import in_flight, unreadable_submissions
from benchmark.execution.slurm.layout import JobArray, arrays_of
from benchmark.execution.slurm.options import SlurmChoice, adjusted, read_options
from benchmark.execution.slurm.submission import Manifest, Settings, Submission, latest_tasks
from benchmark.execution.slurm.submit import scripts_of, submit_plan
from benchmark.execution.slurm.throughput import throughput
from benchmark.execution.status import StageStatus, Status
from benchmark.stages.plan import Plan, refreshed
from results.store.folder import Store
from results.store.locks import CannotLockError, Lock


def run_on_slurm(
    console: Console,
    plan: Plan,
    whole: Plan,
    config: ExecutionConfig,
    out: Path,
    formats: tuple[str, ...],
    slurm: Mapping[str, Any],
    failed: Sequence[StageStatus] = (),
) -> Submission | None:
    """Submit what is neither done nor in flight.

    Args:
        console: where to write.
        plan: of the runs to submit.
        whole: of the grid, for the report.
        config: of the command.
        out: the report's folder.
        formats: the report's formats; none for no report.
        slurm: the options for Slurm on the command line.
        failed: stages that are retried; their failures change what is requested.

    Returns:
        the submission; None if nothing was submitted.

    Raises:
        UserError: an option is invalid, the estimate exceeds --max-gpu-hours, another command submits the same stages, or
            Slurm refuses.
    """
    store = Store(config.results)
    choice = read_options(
        {name: value for name, value in slurm.items() if name not in COMMAND_ONLY}, slurm.get("profile")
    )
    choice = _adjusted(console, whole, store, choice, failed, states_mem="mem" in slurm)
    dry_run = slurm.get("dry_run", False)
    installed = scheduler.is_installed()
    if not installed and not dry_run:
        raise UserError("cannot submit: sbatch, squeue, scancel and srun must be in PATH; --dry-run works anywhere")
    for sentence in [
        *unreadable_submissions(store.root),
        *missing_data((run.spec for run in plan.missing_runs), config.data_dir).values(),
    ]:
        console.print(f"Warning: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    submitted = in_flight(store.root) if installed else {}
    limit = scheduler.max_array_size() if installed else scheduler.DEFAULT_MAX_ARRAY_SIZE
    arrays = arrays_of(plan, choice, submitted, limit)
    if not arrays:
        waiting = sum(run.run_id in submitted for run in plan.missing_runs)
        console.print(
            f"Nothing to submit: {len(plan.done_runs)} runs are finished, {waiting} in flight", highlight=False
        )
        return None
    threads = config.threads or choice.options.cpus_per_task or 1
    _check_estimate(console, plan, store, arrays, choice, slurm, threads)
    if dry_run:
        trained = [run.spec.train for run in plan.runs]
        files = frozen_code({train.dataset.name for train in trained}, {train.weights.source for train in trained})
        console.print(f"A submission copies {files.count} files of code, {size(files.size)}\n", highlight=False)
        scripts = scripts_of(arrays, store, choice.options, plan.grid.name)
        if installed:
            show_starts(console, arrays, scripts)
        show_scripts(console, arrays, scripts)
        return None
    for sign, meaning in (("%", "a placeholder in Slurm's log names"), (":", "which separates folders in PYTHONPATH")):
        if sign in str(store.root):
            raise UserError(f"--results {store.root}: the path must not contain {sign!r}, {meaning}")
    require_torch()
    from benchmark.execution.checking import check_parts  # imports torch, which a dry run does without

    check_parts(plan.missing_runs, str(plan.grid.source))
    store.prepare()
    settings = Settings(
        grid=plan.grid.name,
        source=plan.grid.source,
        runs=tuple(run.spec for run in plan.runs),
        report_runs=tuple(run.run_id for run in whole.runs),
        out=out,
        formats=formats,
        execution=config.model_copy(update={"threads": threads}),
        max_requeues=choice.options.max_requeues,
        stages_at_once=choice.options.stages_at_once,
        stage_data=choice.options.stage_data,
        notify=choice.options.notify,
    )
    with _submitting(store, arrays, submitted):
        submission, manifest = submit_plan(plan, arrays, store, choice.options, settings)
    _show_submission(console, submission, manifest)
    if slurm.get("wait"):
        _follow(console, whole, store, submission)
    else:
        console.print("You may log out. To see the progress, and to cancel:", highlight=False)
        for command in ("status", "cancel"):
            text = f"  python -m benchmark {command} {selection(plan.grid, store)}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    return submission


@contextmanager
def _submitting(store: Store, arrays: Sequence[JobArray], submitted: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock of submissions, so that no two commands submit the same stages.

    Raises:
        UserError: another command submits to the folder now, or has submitted some of the stages since ``submitted`` was read.
    """
    again = "give the same command again, which submits what is left"
    lock = Lock(store.root / SUBMISSIONS / ".lock")
    try:
        if not lock.acquire():
            raise UserError(f"another command is submitting to {store.root}; when it has ended, {again}")
    except CannotLockError:
        pass
    except OSError as error:
        raise UserError(f"the submission cannot be written: {error}") from error
    try:
        names = {name for array in arrays for task in array.tasks for name in task.names}
        if names & (in_flight(store.root).keys() - submitted.keys()):
            raise UserError(f"another command has just submitted some of these stages to {store.root}; {again}")
        yield
    finally:
        lock.path.unlink(missing_ok=True)
        lock.release()


def _adjusted(
    console: Console, plan: Plan, store: Store, choice: SlurmChoice, failed: Sequence[StageStatus], *, states_mem: bool
) -> SlurmChoice:
    """The resources after failures: more memory, fewer nodes. Says what it changes."""
    if not failed:
        return choice
    tasks = latest_tasks(store.root)
    failures = [
        FailedTask(stage.stage.name, stage.stage.kind, stage.last, tasks[stage.stage.name][1].mem)
        for stage in failed
        if stage.last is not None and stage.stage.name in tasks and not (states_mem and stage.last.failure == "oom")
    ]
    attempts = [attempt for stage in plan.missing_stages for attempt in store.progress(stage.name).attempts()]
    changes = adjustment(failures, attempts, choice.options.max_mem)
    for sentence in changes.sentences:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return adjusted(choice, changes)


def _check_estimate(
    console: Console,
    plan: Plan,
    store: Store,
    arrays: list[JobArray],
    choice: SlurmChoice,
    slurm: Mapping[str, Any],
    threads: int,
) -> None:
    """Estimate the arrays if an option requires it, and show them in a dry run.

    Raises:
        UserError: the estimate exceeds --max-gpu-hours.
    """
    dry_run, most_hours = slurm.get("dry_run", False), slurm.get("max_gpu_hours")
    if not dry_run and most_hours is None:
        return
    estimator, speed = Estimator(plan, store), throughput(plan, store, arrays, choice, threads)
    estimates = [[total(map(estimator.unit, task.units)) for task in array.tasks] for array in arrays]
    if dry_run:
        show_arrays(console, arrays, estimates, choice.options, speed, plan.grid.name)
    hours = gpu_hours(arrays, estimates, speed.tflops)
    if most_hours is not None and hours > most_hours:
        raise UserError(
            f"the estimate is {hours:.1f} GPU-hours at {speed.tflops:.3g} TFLOP/s a GPU ({speed.basis}), above "
            f"--max-gpu-hours {most_hours:g}"
        )


def _show_submission(console: Console, submission: Submission, manifest: Manifest) -> None:
    jobs = f"{len(manifest.arrays)} job" + ("" if len(manifest.arrays) == 1 else "s")
    console.print(f"Submitted {manifest.grid} in {jobs}, from a copy of the code ({manifest.code}):", highlight=False)
    for array in manifest.arrays:
        after = f", after {', '.join(array.after)}" if array.after else ""
        text = f"  {array.job}  {array.name}: {counted_tasks(len(array.tasks))}{after}"
        console.print(text, highlight=False, soft_wrap=True)
    console.print(f"Logs: {submission.jobs}", markup=False, highlight=False, soft_wrap=True)


def _follow(console: Console, plan: Plan, store: Store, submission: Submission) -> None:
    """Show progress until no job of the submission is left.

    Raises:
        click.exceptions.Exit: some runs are not done.
    """
    jobs = {task.job for task in submission.manifest().tasks}

    def has_jobs(status: Status) -> bool:
        try:
            live = scheduler.live_jobs()
        except UserError:  # the controller may be restarting; the jobs go on
            return True
        return any(job in live and live[job].in_flight for job in jobs)

    follow(console, plan, store, has_jobs)
    after = refreshed(plan, store)
    if after.missing_runs:
        text = f"{len(after.missing_runs)} of {len(after.runs)} runs are not done; python -m benchmark status shows why"
        console.print(text, style="red", highlight=False)
        raise click.exceptions.Exit(1)
    settings, count = submission.settings(), len(after.runs)
    report = f"; the report is in {settings.out}" if settings.formats else ""
    console.print(f"{count} of {count} runs are done{report}", highlight=False)
