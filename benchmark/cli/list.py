"""``python -m benchmark list``: everything registered, by name."""

from __future__ import annotations

import click
import yaml
from rich.console import Console
from rich.table import Table

from benchmark.registry import TABLES, grids, table
from datasets.folder import PREFIX, SUMMARY
from methods.placement import SCHEMES

PLURALS = {
    "method": "methods",
    "head": "heads",
    "loss": "losses",
    "policy": "policies",
    "backbone": "backbones",
    "dataset": "datasets",
}


@click.command("list")
def command() -> None:
    """Name the registered methods, heads, losses, policies, backbones, datasets, exit schemes and grids.

    \b
    Example:
      python -m benchmark list
    """
    console = Console()
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
