"""``run --executor slurm``: plan, estimate, freeze, submit, and leave or follow."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli.options import DEFAULT_RESULTS, require_torch
from benchmark.cli.slurm_options import ASIDE
from benchmark.cli.slurm_plan import counted_tasks, estimates_of, gpu_hours, show_arrays, show_scripts
from benchmark.cli.status import follow
from benchmark.errors import UserError
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.freeze import code_hash, freeze
from benchmark.execution.slurm.layout import JobArray, arrays_of
from benchmark.execution.slurm.options import SlurmChoice, read_options
from benchmark.execution.slurm.submission import (
    Manifest,
    Settings,
    Submission,
    named_by_code,
    new_submission,
    submissions,
)
from benchmark.execution.status import Status
from benchmark.grid.load import Grid
from benchmark.stages.plan import Plan, refreshed
from results.store.folder import Store


@dataclass(frozen=True)
class Asked:
    """What the command line of ``run`` says beside the options for Slurm."""

    device: str
    threads: int | None
    loader_processes: int | None
    data_dir: Path | None
    out: Path


def run_on_slurm(
    console: Console, plan: Plan, whole: Plan, store: Store, asked: Asked, given: Mapping[str, Any]
) -> Submission | None:
    """Submit what is neither done nor in flight.

    Args:
        console: where to write.
        plan: of the runs that are wanted.
        whole: of the grid, for the report.
        store: of the results.
        asked: the options of ``run`` that every executor knows.
        given: the options for Slurm that were named.

    Returns:
        the submission; None where nothing was submitted.

    Raises:
        UserError: an option is wrong, the plan too dear, or Slurm refuses.
    """
    choice = read_options({name: value for name, value in given.items() if name not in ASIDE}, given.get("profile"))
    dry, most_hours = given.get("dry_run", False), given.get("max_gpu_hours")
    there = scheduler.is_there()
    if not there and not dry:
        raise UserError(
            "sbatch, squeue, scancel and srun must be in PATH: this machine cannot submit; --dry-run works anywhere"
        )
    flying = in_flight(store) if there else {}
    arrays = arrays_of(plan, choice, flying, scheduler.max_array_size() if there else 1001)
    if not arrays:
        waiting = sum(run.run_id in flying for run in plan.missing_runs)
        console.print(
            f"Nothing to submit: {len(plan.done_runs)} runs are finished, {waiting} in flight", highlight=False
        )
        return None
    if dry or most_hours is not None:
        estimates = estimates_of(store, arrays)
        hours = gpu_hours(arrays, estimates, choice)
        if dry:
            show_arrays(console, arrays, estimates, choice, plan.grid.name)
        if most_hours is not None and hours > most_hours:
            raise UserError(
                f"estimated are {hours:.1f} GPU-hours at {choice.options.tflops:g} TFLOP/s a GPU, more than the {most_hours:g} "
                "of --max-gpu-hours"
            )
    if dry:
        show_scripts(console, arrays, choice, store, plan.grid.name)
        return None
    if "%" in str(store.root):
        raise UserError(
            f"--results: Slurm takes a '%' in the path of a log for a placeholder, and {store.root} has one"
        )
    require_torch()
    store.prepare()
    submission, manifest = _submit(plan, whole, store, arrays, choice, asked)
    jobs = f"{len(manifest.arrays)} job" + ("" if len(manifest.arrays) == 1 else "s")
    console.print(f"Submitted {plan.grid.name} in {jobs}, from a copy of the code ({manifest.code}):", highlight=False)
    for array in manifest.arrays:
        after = f", after {', '.join(array.after)}" if array.after else ""
        console.print(
            f"  {array.job}  {array.name}: {counted_tasks(len(array.tasks))}{after}", highlight=False, soft_wrap=True
        )
    console.print(f"Logs: {submission.jobs}", markup=False, highlight=False, soft_wrap=True)
    if given.get("wait"):
        _follow(console, whole, store, submission)
    else:
        which = _named(plan.grid, store)
        console.print("You may log out. To look at it, and to end it:", highlight=False)
        for verb in ("status", "cancel"):
            console.print(f"  python -m benchmark {verb} {which}", markup=False, highlight=False, soft_wrap=True)
    return submission


def _named(grid: Grid, store: Store) -> str:
    """The options by which another command finds the same grid and results."""
    name = grid.name if registry.grids().get(grid.name) == grid.source else str(grid.source)
    results = "" if store.root == DEFAULT_RESULTS else f" --results {shlex.quote(str(store.root))}"
    return f"--grid {shlex.quote(name)}{results}"


def _follow(console: Console, plan: Plan, store: Store, submission: Submission) -> None:
    """Show progress until no job of a submission is left.

    Raises:
        click.exceptions.Exit: some runs are not done.
    """
    jobs = {task.job for array in submission.manifest().arrays for task in array.tasks}

    def left(status: Status) -> bool:
        live = scheduler.live_jobs()
        return any(job in live and live[job].in_flight for job in jobs)

    follow(console, plan, store, left)
    after = refreshed(plan, store)
    if after.missing_runs:
        console.print(
            f"{len(after.missing_runs)} of {len(after.runs)} runs are not done; python -m benchmark status says why",
            style="red", highlight=False,
        )  # fmt: skip
        raise click.exceptions.Exit(1)
    console.print(
        f"{len(after.runs)} of {len(after.runs)} runs are done; the report is in {submission.settings().out}",
        highlight=False,
    )


def _submit(
    plan: Plan, whole: Plan, store: Store, arrays: Sequence[JobArray], choice: SlurmChoice, asked: Asked
) -> tuple[Submission, Manifest]:
    from benchmark.execution.checking import check_parts
    from benchmark.execution.slurm.submit import submit

    check_parts(plan.missing_runs, str(plan.grid.source))  # now rather than in each task
    ours = {name for array in arrays for task in array.tasks for unit in task.units for name in unit.names}
    for run in plan.missing_runs:
        if run.run_id in ours:
            store.set_aside(run.run_id)  # a failed run is tried again
    options = choice.options
    submission = new_submission(store.root, plan.grid.name)
    try:
        code = freeze(submission.code)
        submission = named_by_code(submission, code)
        settings = Settings(
            name=submission.name,
            grid=plan.grid.name,
            source=plan.grid.source,
            results=store.root,
            data_dir=asked.data_dir,
            device=asked.device,
            threads=asked.threads or options.cpus_per_task or 1,
            loader_processes=asked.loader_processes,
            out=asked.out,
            max_requeues=options.max_requeues,
            stage_data=options.stage_data,
            patience=options.signal_delay / 2,
        )
        submission.write_order(settings, plan, [run.run_id for run in whole.runs])
        manifest = Manifest(grid=plan.grid.name, submitted=datetime.now(UTC), code=code)
        return submission, submit(arrays, submission, manifest, options)
    except BaseException:
        if not (submission.folder / "manifest.json").exists():
            shutil.rmtree(submission.folder, ignore_errors=True)
        raise


def in_flight(store: Store) -> dict[str, str]:
    """Stages and runs that jobs of earlier submissions are still for, to job ids.

    Raises:
        UserError: squeue does not answer.
    """
    earlier = submissions(store.root)
    live = scheduler.live_jobs() if earlier else {}
    return {
        name: task.job
        for _, manifest in earlier
        for array in manifest.arrays
        for task in array.tasks
        if task.job in live and live[task.job].in_flight
        for name in task.names
    }


def other_code(store: Store) -> list[str]:
    """A sentence for every submission in flight whose code is not that of the checkout."""
    earlier, live = submissions(store.root), {}
    if earlier and scheduler.is_there():
        live = scheduler.live_jobs()
    here = code_hash(Path(__file__).resolve().parents[2]) if live else ""
    return [
        f"submission {submission.name} runs the code {manifest.code}, the checkout is {here}"
        for submission, manifest in earlier
        if manifest.code != here
        and any(task.job in live and live[task.job].in_flight for a in manifest.arrays for task in a.tasks)
    ]
