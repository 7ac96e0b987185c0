"""``python -m benchmark list``: everything that is registered, or the runs in a results folder."""

from __future__ import annotations

from pathlib import Path

import click
import yaml
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import results_option
from benchmark.errors import UserError
from benchmark.registry import TABLES, grids, table
from datasets.folder import PREFIX, SUMMARY
from methods.placement import SCHEMES
from results.store.folder import Store

PLURALS = {
    "method": "methods",
    "head": "heads",
    "loss": "losses",
    "policy": "policies",
    "backbone": "backbones",
    "dataset": "datasets",
}


@click.command("list")
@click.option("--runs", is_flag=True, help="List the runs in the results folder instead.")
@results_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, resolve_path=True, dir_okay=False),
    help="With --runs: also write a CSV file.",
)
def command(runs: bool, results_dir: Path, out: Path | None) -> None:
    """List the registered methods, heads, losses, policies, backbones and datasets, the exit schemes and the grids.

    With --runs: list the finished and failed runs in the results folder.

    \b
    Examples:
      python -m benchmark list
      python -m benchmark list --runs --out runs.csv
    """
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
    shown.add_row("[bold]exit schemes[/]", "")
    for name, rule in SCHEMES.items():
        shown.add_row(f"  {name}", rule)
    shown.add_row("[bold]grids[/]", "")
    for name, path in grids().items():
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        axes = f"{len(content['methods'])} methods, {', '.join(content['backbones'])}"
        shown.add_row(f"  {name}", axes)
    console.print(shown)


def _show_runs(console: Console, results_dir: Path, out: Path | None) -> None:
    # These import pandas, which `list` without --runs does not need.
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
    heading = f"{'without exits':>13}  {'at most 1 point on val':>22}  {'layers':>7}  {'MACs':>7}  run"
    lines = (_line(*row) for row in table[list(SHOWN)].itertuples(index=False, name=None))
    console.file.write("\n".join([heading, *lines, ""]))  # rich is slow for thousands of lines
    finished = int((table["status"] == "done").sum())
    console.print(
        f"{finished} finished, {len(table) - finished} failed; accuracies and speed-ups on test", highlight=False
    )


SHOWN = ("status", "cause", "static_accuracy", "accuracy", "layer_speedup", "mac_speedup", "run_id")


def _line(status: str, cause: str, static: float, accuracy: float, layers: float, macs: float, run_id: str) -> str:
    if status != "done":
        return f"{'failed':>13}  {run_id}: {str(cause).splitlines()[0]}"
    shown = [f"{100 * static:.1f} %", f"{100 * accuracy:.1f} %", f"{layers:.2f}x", f"{macs:.2f}x"]
    if accuracy != accuracy:
        shown[1:] = "---"
    widths = (13, 22, 7, 7)
    return "  ".join([*(text.rjust(width) for text, width in zip(shown, widths, strict=True)), run_id])
