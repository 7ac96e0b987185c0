"""``python -m benchmark run``: trains, scores, measures and reports the runs of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.grid_report import format_option, report_folder, report_on
from benchmark.cli.grid_run import check_processes, line_printer, load_with_weights, require_data
from benchmark.cli.options import DEFAULT_GRID, changes_option, execution_options, grid_option
from benchmark.cli.plan_view import show_late_endpoint, show_plan, show_requirements
from benchmark.cli.rehearsal import show_rehearsal
from benchmark.cli.slurm_options import check_executor, slurm_options
from benchmark.environment import require_tensorboard, require_torch
from benchmark.errors import UserError
from benchmark.execution.after_runs import measure_after_runs, unprobed, without_latency
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.local import run_locally
from benchmark.execution.requirements import requirements
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import Plan, make_plan
from results.store.folder import Store


@click.command("run")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@changes_option
@execution_options
@format_option(optional=True)
@click.option(
    "--rehearse", is_flag=True, help="Test every model at full size: two steps on noise, with a kill and a resume."
)
@click.option(
    "--join", is_flag=True, help="Share the work with other commands in the results folder, also on other machines."
)
@slurm_options
def command(
    grid_name: str | None,
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    offline: bool,
    device: str,
    threads: int | None,
    executor: str,
    workers: int,
    gpus: int,
    loader_workers: int | None,
    log: str | None,
    hang_minutes: float,
    rehearse: bool,
    join: bool,
    out: Path | None,
    formats: tuple[str, ...],
    slurm: Mapping[str, Any],
) -> None:
    """Run a grid: train, score, measure, and write records, curves and a report.

    Finished stages are not repeated; interrupted ones resume from their last checkpoint. --rehearse shows in minutes whether a
    grid will run to its end: each backbone with each method takes two optimizer steps on two random images, is killed after its
    first checkpoint, resumes, and is scored, its MACs are counted, and it is recorded and reported, in a separate folder.

    \b
    Examples:
      python -m benchmark run --grid                 the grid quick
      python -m benchmark run --grid smoke           a shipped grid
      python -m benchmark run --grid my/grid.yaml    your own
      python -m benchmark run --grid quick --set recipes.finetune.epochs=5
      python -m benchmark run --grid quick --workers 2      two processes
      python -m benchmark run --grid quick --format html    a page, no PDF
      python -m benchmark run --grid paper-cifar100 --rehearse
      python -m benchmark run --grid paper-cifar100 --gpus 4
      python -m benchmark run --grid paper-cifar100 --executor slurm
    """
    if grid_name is None:
        raise UserError(
            f"run needs --grid; without a value it means {DEFAULT_GRID!r}; 'python -m benchmark list' shows the others"
        )
    check_executor(executor, slurm, workers=workers > 1, gpus=gpus > 1, rehearse=rehearse, join=join)
    check_processes(workers, gpus, rehearse=rehearse)
    if log == "tensorboard":
        require_tensorboard()
    console = Console()
    config = ExecutionConfig(
        results=results_dir, device=device, threads=threads, data_dir=data_dir, processes=gpus, workers=workers,
        loader_processes=loader_workers, tensorboard=log == "tensorboard", hang_minutes=hang_minutes,
        join=join,
    )  # fmt: skip
    if rehearse:
        show_rehearsal(console, load_grid(find_grid(grid_name), data_dir, changes), config, out, formats)
        return
    console.print(f"Reading the grid {grid_name} ...", markup=False, highlight=False, soft_wrap=True)
    if slurm.get("dry_run"):
        grid = load_grid(find_grid(grid_name), data_dir, changes)
    else:
        grid = load_with_weights(console, grid_name, data_dir, offline, changes, here=executor == "local")
    store = Store(results_dir)
    plan = make_plan(grid, store, None if slurm.get("dry_run") else line_printer(console))
    show_late_endpoint(console, plan, store)
    target = report_folder(out, grid.name, store, formats)
    if executor == "slurm":
        if plan.missing_runs:
            from benchmark.cli.slurm import run_on_slurm  # imports submitit

            run_on_slurm(console, plan, plan, config, target, formats, slurm)
        else:
            _finish_slurm(console, plan, store, target, formats, data_dir, dry_run=slurm.get("dry_run", False))
        return
    failed: list[str] = []
    if plan.missing_runs:
        require_data(plan, data_dir)
        show_plan(console, plan)
        show_requirements(console, requirements(plan, store, data_dir))
        require_torch()
        failed = run_locally(console, plan, config).failed
    else:
        _say_finished(console, plan)
    if join:  # the other commands may still work; `run` without --join, or `report`, writes the report
        _end_join(console, plan, store)
        return
    measure_after_runs(plan, config, line_printer(console))
    report_on(console, plan, store, target, formats, data_dir)
    if failed:
        console.print(f"{len(failed)} of {len(plan.runs)} runs failed; the same command tries them again", style="red")
        raise click.exceptions.Exit(1)


def _say_finished(console: Console, plan: Plan) -> None:
    console.print(f"Grid {plan.grid.name}: all {len(plan.runs)} runs are finished, nothing to run\n", highlight=False)


def _finish_slurm(
    console: Console,
    plan: Plan,
    store: Store,
    out: Path,
    formats: tuple[str, ...],
    data_dir: Path | None,
    *,
    dry_run: bool,
) -> None:
    """The report of a grid whose jobs have made every run. Computes nothing: this machine is a login node."""
    _say_finished(console, plan)
    lacks = {"latencies": bool(without_latency(plan, store)), "probes": bool(unprobed(plan, store))}
    if what := " and ".join(name for name, is_missing in lacks.items() if is_missing):
        console.print(
            f"The {what} of the grid are not measured, which jobs of a submission do not do: run the command without "
            "--executor slurm inside a job",
            highlight=False,
        )
    if not dry_run:
        report_on(console, plan, store, out, formats, data_dir)


def _end_join(console: Console, plan: Plan, store: Store) -> None:
    """Say what the commands that share a folder have done; exit with 1 if some runs are not finished."""
    unfinished = [run for run in plan.runs if not store.is_done(run.run_id)]
    done = len(plan.runs) - len(unfinished)
    console.print(f"{done} of {len(plan.runs)} runs are finished; the same command without --join writes the report")
    if unfinished:
        raise click.exceptions.Exit(1)
