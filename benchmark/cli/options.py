"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.checkout import ROOT

DEFAULT_GRID = "quick"
DEFAULT_RESULTS = ROOT / "results"
REPORTS_OUT = ROOT / "reports" / "out"


def grid_option(help_text: str):  # type: ignore[no-untyped-def]
    """``--grid`` with an optional value: nothing is the default grid, a name a shipped one, a path the user's file."""
    return click.option(
        "--grid",
        "grid_name",
        is_flag=False,
        flag_value=DEFAULT_GRID,
        default=None,
        metavar="[NAME|PATH]",
        help=help_text,
    )


results_option = click.option(
    "--results",
    "results_dir",
    type=click.Path(path_type=Path, resolve_path=True),
    default=DEFAULT_RESULTS,
    show_default="results/ of the checkout",
    help="The results folder.",
)
