"""``python -m benchmark list``: everything that is registered, or the runs in a results folder."""

from __future__ import annotations

import json
from pathlib import Path

import click
import yaml
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import OutputPath, results_option
from benchmark.errors import UserError
from benchmark.grid.schema import grid_schema
from benchmark.grid.summary import grid_summary
from benchmark.registry import TABLES, grids, table
from benchmark.run_reference import short_id
from benchmark.text_table import left_out, text_table, without_constants
from datasets.folder import PREFIX, SUMMARY
from methods.backbones import timm_cards
from methods.placement import SCHEMES
from results.record import printable
from results.store.folder import Store

PLURALS = {
    "method": "methods",
    "head": "heads",
    "loss": "losses",
    "policy": "policies",
    "backbone": "backbones",
    "reduction": "token reductions",
    "dataset": "datasets",
    "task": "tasks",
}


@click.command("list")
@click.option("--runs", is_flag=True, help="List the runs in the results folder instead.")
@click.option("--schema", is_flag=True, help="Print a JSON schema of grid files, for editors.")
@results_option
@click.option(
    "--out",
    type=OutputPath(dir_okay=False),
    help="With --runs: also write a CSV file.",
)
def command(runs: bool, schema: bool, results_dir: Path, out: Path | None) -> None:
    """List the registered methods, heads, losses, policies, backbones and datasets, the exit schemes and the grids.

    With --runs: list the finished and failed runs in the results folder. With --schema: print a JSON schema of grid files, with
    the registered names.

    \b
    Examples:
      python -m benchmark list
      python -m benchmark list --runs --out runs.csv
      python -m benchmark list --schema > grid.schema.json
    """
    if out is not None and not runs:
        raise UserError("--out is for --runs: it writes the list of runs as a CSV file")
    if schema:
        click.echo(json.dumps(grid_schema(), indent=2))
        return
    console = Console()
    if runs:
        _show_runs(console, results_dir, out)
        return
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column()
    for kind in TABLES:
        shown.add_row(f"[bold]{PLURALS[kind]}[/]", "")
        for name, card in table(kind).items():
            shown.add_row(f"  {name}", card.summary)
        if kind == "dataset":
            shown.add_row(f"  {PREFIX}PATH", SUMMARY)
        if kind == "backbone":
            shown.add_row(f"  {timm_cards.PREFIX}NAME", timm_cards.SUMMARY)
    shown.add_row("[bold]exit schemes[/]", "")
    for name, rule in SCHEMES.items():
        shown.add_row(f"  {name}", rule)
    shown.add_row("[bold]grids[/]", "")
    for name, path in grids().items():
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        backbones = [entry["name"] if isinstance(entry, dict) else entry for entry in content["backbones"]]
        shown.add_row(f"  {name}", f"{grid_summary(path)} [dim]{', '.join(backbones)}[/]")
    console.print(shown)


def _show_runs(console: Console, results_dir: Path, out: Path | None) -> None:
    # These import pandas, which `list` without --runs does not need.
    from results.metric import METRICS, one_metric
    from results.store.output import write_table
    from results.tables.overview import overview

    store = Store(results_dir)
    table, problems = overview(store)
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)
    if table.empty:
        readable = "readable " if problems else ""
        raise UserError(
            f"there is no {readable}run in {store.root / 'runs'}; run this first: python -m benchmark run --grid"
        )
    if out is not None:
        write_table(out, table)
    shown, constant = without_constants(
        {name: [_text(name, value) for value in table[name]] for name in SHOWN},
        ["backbone", "dataset", "scheme", "seed"],
    )
    columns = {HEADINGS.get(name, name): cells for name, cells in shown.items()}
    optional = ["layers", "dataset", "backbone", "scheme"]
    lines = text_table(columns, console.width, optional=optional, right=NUMBERS)
    console.file.write("\n".join([*lines, ""]))  # rich is slow for thousands of lines
    for run_id, cause in table.loc[table["status"] != "done", ["run_id", "cause"]].itertuples(index=False, name=None):
        first_line = printable(str(cause).splitlines()[0])
        console.print(f"{short_id(run_id)} failed: {first_line}", markup=False, highlight=False, soft_wrap=True)
    metric = one_metric(metric for metric in METRICS.values() if metric.name in set(table["metric"]))
    finished = int((table["status"] == "done").sum())
    text = (
        f"{f'all: {constant}; ' if constant else ''}{finished} finished, {len(table) - finished} failed. On test: "
        f"{metric.name} without exits; then with exits, speed-up in layers and in MACs, at a drop of at most 1 point on val. "
        f"{metric.explained()}"
    ).rstrip()
    if missing := left_out(columns, console.width, optional):
        text += f" A wider terminal also shows: {', '.join(missing)}."
    console.print(text, markup=False, highlight=False)


SHOWN = (
    *("run_id", "method", "backbone", "dataset", "scheme", "seed"),
    *("static_accuracy", "accuracy", "layer_speedup", "mac_speedup"),
)
HEADINGS = {
    "run_id": "run",
    "static_accuracy": "no exits",
    "accuracy": "exits",
    "layer_speedup": "layers",
    "mac_speedup": "MACs",
}
NUMBERS = ("seed", "no exits", "exits", "layers", "MACs")


def _text(column: str, value: object) -> str:
    if column == "run_id":
        return short_id(str(value))
    if isinstance(value, float):
        if value != value:
            return ""
        return f"{value:.2f}x" if column.endswith("speedup") else f"{100 * value:.1f} %"
    return printable(str(value))
