"""Shared by `run` and `retry`: option checks, loading a grid with its pretrained weights, and the report at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmark.cli.options import REPORTS_OUT
from benchmark.errors import UserError
from benchmark.execution.requirements import fetch_weights, missing_data
from benchmark.grid.load import Grid, find_grid, load_grid
from benchmark.stages.plan import Plan
from reports.report_folder import check_replaceable, is_current, report_files
from results.store.folder import Store


def check_processes(workers: int, gpus: int, *, rehearse: bool = False) -> None:
    """
    Raises:
        UserError: the options exclude each other, or torchrun started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("run starts its own processes: use --gpus N instead of torchrun")
    if gpus > 1 and (rehearse or workers > 1):
        other = "--rehearse" if rehearse else "--workers"
        raise UserError(
            f"--gpus and {other} exclude each other: --gpus shares each training among processes, {other} runs it in one"
        )


def load_with_weights(
    console: Console, name: str, data_dir: Path | None, offline: bool, changes: Sequence[str] = (), *, here: bool = True
) -> Grid:
    """Load a grid, after fetching its pretrained weights: their hashes are part of the stage keys.

    Args:
        here: whether the grid trains on this machine, so that its data are checked before weights are downloaded.

    Raises:
        UserError: a mistake in the grid, missing data, or weights that cannot be fetched.
    """
    source = find_grid(name)
    grid = load_grid(source, data_dir, changes)
    fetched = fetch_weights(grid.runs, data_dir, offline, line_printer(console), needs_data=here)
    return load_grid(source, data_dir, changes) if fetched else grid


def check_data(plan: Plan, data_dir: Path | None) -> None:
    """
    Raises:
        UserError: one sentence for each dataset of the missing runs that is not on this machine.
    """
    if messages := missing_data((run.spec for run in plan.missing_runs), data_dir):
        raise UserError(*messages.values())


def line_printer(console: Console) -> Callable[[str], None]:
    """A function that prints a line without markup or highlighting."""
    return lambda text: console.print(text, markup=False, highlight=False)


def report_folder(out: Path | None, grid: Grid, store: Store) -> Path:
    """The report's folder, checked before the training and not after it.

    Raises:
        StoreError: the folder contains something other than a report, or it contains the records.
    """
    target = out or REPORTS_OUT / grid.name
    check_replaceable(target, store)
    return target


def report_on(console: Console, plan: Plan, store: Store, out: Path, data_dir: Path | None) -> None:
    """Write the report unless an up-to-date one exists, and print its table and files."""
    run_ids = [run.run_id for run in plan.runs]
    if not any(store.is_done(run_id) for run_id in run_ids):
        console.print("No run is finished, so there is nothing to report")
        return
    if not is_current(out, store, run_ids):
        # Both import plotting or array packages, which takes seconds, and most calls find an up-to-date report.
        from benchmark.pictures import Pictures
        from reports.paper import build_report

        console.print("Writing the report ...")
        problems = build_report(store, run_ids, title=plan.grid.name, out=out, pictures=Pictures(data_dir))
        for problem in problems:
            console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print((out / "table.txt").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    console.print("Files:")
    console.print(
        f"  {store.root / 'runs'}{os.sep}*  records, outcomes and curves of {len(run_ids)} runs", soft_wrap=True
    )
    for path, content in report_files(out):
        console.print(f"  {path}  {content}", markup=False, highlight=False, soft_wrap=True)
