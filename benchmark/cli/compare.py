"""``python -m benchmark compare``: compare two runs or two results folders."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmark.cli.options import results_option
from benchmark.errors import UserError
from methods.lookup import unknown
from results.store.folder import Store
from results.tables.compare import point_differences, record_differences, set_differences
from results.tables.loading import load_runs
from results.tables.run import Run


@click.command("compare")
@click.argument("first")
@click.argument("second")
@results_option
def command(first: str, second: str, results_dir: Path) -> None:
    """Compare FIRST and SECOND: two run ids, or two results folders (their runs with the same spec are paired).

    Shows the differences in spec, code and machine, and the accuracies with paired tests on the same test samples.

    \b
    Examples:
      python -m benchmark compare lgvit-...-0123abcd vanilla-...-4567cdef
      python -m benchmark compare results /mnt/cluster/results
    """
    console = Console(highlight=False)
    if Path(first).is_dir() and Path(second).is_dir():
        _compare_sets(console, Path(first), Path(second))
    else:
        _compare_runs(console, _run(results_dir, first), _run(results_dir, second))


def _compare_runs(console: Console, first: Run, second: Run) -> None:
    for kind, differences in record_differences(first.record, second.record).items():
        console.print(f"{kind}: {'' if differences else 'the same'}", style="bold")
        for entry in differences:
            console.print(f"  {entry.field}: {entry.first} -> {entry.second}", markup=False, soft_wrap=True)
    _show(console, point_differences(first, second))


def _compare_sets(console: Console, first: Path, second: Path) -> None:
    loaded = []
    for folder in (first, second):
        store = Store(folder)
        runs, problems = load_runs(store, store.run_ids())
        for problem in problems:
            console.print(f"left out: {problem}", markup=False, soft_wrap=True)
        loaded.append(runs)
    table, only_first, only_second = set_differences(*loaded)
    for folder, alone in ((first, only_first), (second, only_second)):
        for run_id in alone:
            console.print(f"only in {folder}: {run_id}", markup=False, soft_wrap=True)
    if table.empty:
        raise UserError(f"{first} and {second} have no run with the same spec")
    for name, rows in table.groupby("run_id", sort=False):
        console.print(str(name), markup=False, style="bold")
        _show(console, rows)


def _run(results_dir: Path, run_id: str) -> Run:
    store = Store(results_dir)
    run_ids = store.run_ids()
    if run_id not in run_ids:
        problem = unknown("run", run_id, run_ids) if run_ids else f"there is no run in {store.root}"
        raise UserError(f"{problem}; compare takes two runs or two results folders")
    runs, problems = load_runs(store, [run_id])
    if problems:
        raise UserError(*problems)
    return runs[0]


def _show(console: Console, table: pd.DataFrame) -> None:
    for _, row in table.iterrows():
        line = (
            f"  {row['point']:<32}{100 * row['first']:6.1f} {100 * row['second']:6.1f}  {100 * row['difference']:+5.1f}"
        )
        if row["low"] == row["low"]:
            line += (
                f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]  p {row['p']:.3f}, adjusted {row['p_holm']:.3f}"
                f"; detectable {100 * row['detectable']:.1f}"
            )
        else:
            line += "  other test samples: not paired"
        if row["first_macs"] == row["first_macs"]:
            line += f"; MACs {row['first_macs'] / row['second_macs']:.3f} of the second's"
        console.print(line, markup=False, soft_wrap=True)
    console.print("  accuracies and differences in % of the test images", markup=False)
