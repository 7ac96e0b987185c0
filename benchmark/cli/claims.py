"""``python -m benchmark claims``: judge LGViT's claims and published numbers by the records."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.grid_runs import selected_run_ids
from benchmark.cli.options import grid_option, results_option
from benchmark.errors import UserError
from results.judge.claims import judge
from results.judge.literature import read_claims, read_numbers
from results.store.folder import Store
from results.store.output import write_table
from results.tables.loading import load_runs


@click.command("claims")
@grid_option("Only the runs of this grid; without the option, every run in the results folder.")
@results_option
@click.option("--strict", is_flag=True, help="Exit with 1 unless every claim is reproduced or close.")
@click.option(
    "--out", type=click.Path(path_type=Path, resolve_path=True, dir_okay=False), help="Also write a CSV file."
)
def command(grid_name: str | None, results_dir: Path, strict: bool, out: Path | None) -> None:
    """Judge LGViT's claims and published numbers by the finished runs, with fixed rules.

    A claim is reproduced if the whole 95 % interval satisfies it, not reproduced if the interval excludes it, and inconclusive
    otherwise; docs/statistics.md has the rules. Runs on other data or models do not count: the claim stays "not run", and their
    result is printed separately.

    \b
    Examples:
      python -m benchmark claims
      python -m benchmark claims --grid paper.yaml --strict
    """
    store = Store(results_dir)
    runs, problems = load_runs(store, selected_run_ids(store, grid_name))
    if not runs:
        raise UserError(
            f"there is no finished run in {store.root / 'runs'}; run this first: python -m benchmark run --grid"
        )
    console = Console(highlight=False)
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, soft_wrap=True)
    table = judge(runs, read_claims(), read_numbers())
    if out is not None:
        write_table(out, table)
    for reading, rows in table.groupby("reading", sort=False):
        console.print(f"\n{reading}", markup=False, style="bold")
        for _, row in rows.iterrows():
            setting = ", ".join(part for part in (row["backbone"], row["dataset"], row["scheme"]) if part)
            console.print(
                f"  {row['claim']}: {row['verdict']}{f' ({setting})' if setting else ''}: {row['reason']}",
                markup=False, soft_wrap=True,
            )  # fmt: skip
            if row["finding"]:
                console.print(f"    at small scale {row['finding']}", markup=False, soft_wrap=True)
            if row["run_ids"]:
                console.print(f"    runs: {row['run_ids']}", markup=False, soft_wrap=True)
    counts = table["verdict"].value_counts()
    console.print("\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if strict and not table["verdict"].isin(["reproduced", "close"]).all():
        raise click.exceptions.Exit(1)
