"""``python -m benchmark claims``: judge LGViT's claims and published numbers by the records."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.claims_view import details, summary
from benchmark.cli.grid_runs import selected_run_ids
from benchmark.cli.options import OutputPath, changes_option, data_dir_option, grid_option, results_option
from benchmark.errors import UserError
from results.judge.claims import judge
from results.judge.literature import read_claims, read_numbers
from results.store.folder import Store
from results.store.output import write_table
from results.tables.loading import load_runs


@click.command("claims")
@grid_option("Only the runs of this grid; without the option, every run in the results folder.")
@changes_option
@results_option
@data_dir_option
@click.option("--full", is_flag=True, help="Show every reading, setting and published number, with reason and runs.")
@click.option("--strict", is_flag=True, help="Exit with 1 unless every claim is reproduced or close.")
@click.option("--out", type=OutputPath(dir_okay=False), help="Also write a CSV file.")
def command(
    grid_name: str | None,
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    full: bool,
    strict: bool,
    out: Path | None,
) -> None:
    """Judge LGViT's claims and published numbers by the finished runs, with fixed rules.

    A claim is reproduced if the whole 95 % interval satisfies it, not reproduced if the interval excludes it, and inconclusive
    otherwise; docs/statistics.md has the rules. Runs on other data or models do not count: the claim is listed as "small
    scale", and the column "small" counts the settings in which its rule holds.

    \b
    Examples:
      python -m benchmark claims
      python -m benchmark claims --full
      python -m benchmark claims --grid paper.yaml --strict
    """
    store = Store(results_dir)
    runs, problems = load_runs(store, selected_run_ids(store, grid_name, data_dir, changes))
    if not runs:
        raise UserError(
            f"there is no finished run in {store.root / 'runs'}; run this first: python -m benchmark run --grid"
        )
    console = Console(highlight=False)
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, soft_wrap=True)
    claims = read_claims()
    table = judge(runs, claims, read_numbers())
    if out is not None:
        write_table(out, table)
    lines = details(table, console.width) if full else summary(table, claims, console.width)
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    if strict and not table["verdict"].isin(["reproduced", "close"]).all():
        raise click.exceptions.Exit(1)
