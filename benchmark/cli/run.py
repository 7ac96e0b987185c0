"""``python -m benchmark run``: the main job."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.executing import bring_weights, execute
from benchmark.cli.options import DEFAULT_GRID, REPORTS_OUT, execution_options, grid_option
from benchmark.cli.plan_view import show_plan
from benchmark.cli.slurm_options import check_executor, slurm_options
from benchmark.environment import require_torch
from benchmark.errors import UserError
from benchmark.grid.load import Grid, find_grid, load_grid
from benchmark.progress import duration
from benchmark.stages.plan import Plan, make_plan
from reports.paper import build_report, check_replaceable
from results.store.folder import Store


@click.command("run")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@execution_options
@click.option("--rehearse", is_flag=True, help="Every model at full size, on noise, for two steps, killed and resumed.")
@slurm_options
def command(
    grid_name: str | None,
    results_dir: Path,
    data_dir: Path | None,
    offline: bool,
    device: str,
    threads: int | None,
    executor: str,
    workers: int,
    gpus: int,
    loader_workers: int | None,
    rehearse: bool,
    out: Path | None,
    slurm: Mapping[str, Any],
) -> None:
    """Run a grid: train, score, measure, and write records, curves and the PDF report.

    What is finished is not done again; what was interrupted goes on from its last checkpoint. --rehearse shows in minutes
    whether a grid will go through: each backbone with each method takes two optimizer steps of two random images, is killed
    behind its first checkpoint, goes on, and is scored, priced, recorded and reported, in a folder of its own.

    \b
    Examples:
      python -m benchmark run --grid                 the grid quick
      python -m benchmark run --grid smoke           a shipped grid
      python -m benchmark run --grid my/grid.yaml    your own
      python -m benchmark run --grid quick --workers 2   two processes, half of the cores each
      python -m benchmark run --grid paper-cifar100 --gpus 4     one training at a time, on four GPUs
      python -m benchmark run --grid paper-cifar100 --rehearse
      python -m benchmark run --grid paper-cifar100 --executor slurm --partition gpu --gpus-per-node 1 --time 8:00:00
    """
    if grid_name is None:
        raise UserError(
            f"run needs --grid: alone it means {DEFAULT_GRID!r}; see 'python -m benchmark list' for the others"
        )
    check_executor(executor, slurm, workers=workers > 1, gpus=gpus > 1, rehearse=rehearse)
    console = Console()
    check_processes(workers, gpus, rehearse)
    if rehearse:
        _rehearse(console, load_grid(find_grid(grid_name), data_dir), results_dir, device, threads, out)
        return
    grid = load_grid(find_grid(grid_name), data_dir)
    if not slurm.get("dry_run"):
        grid = with_weights(console, grid, data_dir, offline)
    store = Store(results_dir)
    plan = make_plan(grid, store)
    target = report_folder(out, grid, store)
    if executor == "slurm" and plan.missing_runs:
        from benchmark.cli.slurm import Asked, run_on_slurm

        run_on_slurm(console, plan, plan, store, Asked(device, threads, loader_workers, data_dir, target), slurm)
        return
    failed: list[str] = []
    if plan.missing_runs:
        show_plan(console, plan)
        failed = execute(console, plan, store, device, threads, data_dir, loader_workers, workers, gpus)
    else:
        console.print(f"Grid {grid.name}: all {len(plan.runs)} runs are finished, nothing to run\n", highlight=False)
    report_on(console, plan, store, target, data_dir)
    if failed:
        console.print(f"{len(failed)} of {len(plan.runs)} runs failed; the same command tries them again", style="red")
        raise click.exceptions.Exit(1)


def check_processes(workers: int, gpus: int, rehearse: bool = False) -> None:
    """
    Raises:
        UserError: processes of two kinds are asked for, or torchrun started us.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("run starts its processes itself: leave torchrun out, and say --gpus N")
    if gpus > 1 and (rehearse or workers > 1):
        other = "--rehearse" if rehearse else "--workers"
        raise UserError(
            f"--gpus shares one training among processes, and {other} takes a process a training: name one of them"
        )


def _rehearse(
    console: Console, grid: Grid, results_dir: Path, device: str, threads: int | None, out: Path | None
) -> None:
    """The rehearsal, its report, and what it took. Its results hold no weights worth keeping, so they go."""
    require_torch()
    from benchmark.execution.rehearse import rehearsal_of, rehearse

    small = rehearsal_of(grid)
    target = out or REPORTS_OUT / small.name
    store = Store(results_dir / "rehearsals" / grid.name)
    check_replaceable(target, store)
    begun = time.monotonic()
    show_plan(console, make_plan(small, store))
    done = rehearse(small, store, device, threads, console.print)
    plan = make_plan(small, store)
    problems = build_report(store, [run.run_id for run in plan.runs], title=small.name, out=target)
    shutil.rmtree(store.root / "stages", ignore_errors=True)
    took = duration(time.monotonic() - begun)
    for problem in problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"Rehearsed {grid.name} in {took}: {len(plan.runs) - len(done.failed)} of {len(plan.runs)} models went through, "
        f"{done.kills} trainings were killed and went on; {target / 'paper.pdf'} shows the form, its numbers mean nothing",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    if done.failed:
        raise click.exceptions.Exit(1)


def report_folder(out: Path | None, grid: Grid, store: Store) -> Path:
    """Where the report goes; looked at before hours of training, not after.

    Raises:
        StoreError: what is there is no report, or the records.
    """
    target = out or REPORTS_OUT / grid.name
    check_replaceable(target, store)
    return target


def with_weights(console: Console, grid: Grid, data_dir: Path | None, offline: bool) -> Grid:
    """The grid with the hash of all pretrained weights that it names: they are part of the keys."""
    sources = list(dict.fromkeys(run.train.weights.source for run in grid.runs))
    fetched = bring_weights(console, sources, data_dir, offline)
    return load_grid(grid.source, data_dir) if fetched else grid


def report_on(console: Console, plan: Plan, store: Store, out: Path, data_dir: Path | None) -> None:
    """Write the report, if any run is finished, unless it is already there for exactly these records; show table and files."""
    from reports.paper import is_current, report_files

    run_ids = [run.run_id for run in plan.runs]
    if not any(store.is_done(run_id) for run_id in run_ids):
        console.print("No run is finished, so there is nothing to report")
        return
    if not is_current(out, store, run_ids):
        from benchmark.pictures import Pictures
        from reports.paper import build_report

        console.print("Writing the report ...")
        build_report(store, run_ids, title=plan.grid.name, out=out, pictures=Pictures(data_dir))
    console.print((out / "table.txt").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    console.print("Files:")
    console.print(
        f"  {store.root / 'runs'}{os.sep}*  records, outcomes and curves of {len(run_ids)} runs", soft_wrap=True
    )
    for path, what in report_files(out):
        console.print(f"  {path}  {what}", markup=False, highlight=False, soft_wrap=True)
