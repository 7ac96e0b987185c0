"""``python -m benchmark report``: build the report from records and outcomes, without torch."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.grid_report import format_option, show_report
from benchmark.cli.grid_runs import grid_run_ids
from benchmark.cli.options import (
    DEFAULT_RESULTS,
    REPORTS_OUT,
    OutputPath,
    changes_option,
    data_dir_option,
    grid_option,
    out_option,
)
from benchmark.cli.units import size
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.pictures import Pictures
from benchmark.progress import Reporter
from results.store.merged_folders import MergedFolders
from results.store.tiers import SCORES, WEIGHTS
from results.store.tiers import tiers as shared_tiers


@click.command("report")
@grid_option("Only the runs of this grid; without the option, every run in the results folders.")
@changes_option
@click.option(
    "--results",
    "results_dirs",
    type=OutputPath(),
    multiple=True,
    show_default="results/ of the checkout",
    help="A results folder; repeatable.",
)
@data_dir_option
@out_option
@format_option()
@click.option("--full", is_flag=True, help="Print all tables, not only the summary.")
@click.option(
    "--with-scores",
    type=click.Choice(["fp16"]),
    help="With the format records: also the logits of every exit, in half precision.",
)
@click.option("--with-weights", is_flag=True, help="With the format records: also weights and scores as stored.")
def command(
    grid_name: str | None,
    changes: tuple[str, ...],
    results_dirs: tuple[Path, ...],
    data_dir: Path | None,
    out: Path | None,
    formats: tuple[str, ...],
    full: bool,
    with_scores: str | None,
    with_weights: bool,
) -> None:
    """Rebuild the report from the records and outcomes in results folders.

    The records of several folders are read as one set. If two folders have a run of the same name, a finished run wins over a
    failed or damaged one, and otherwise the first folder wins; the command and the report list such runs and all runs that were
    left out. The format pdf also writes the figures as PDF, SVG and PNG. The format records copies the records into the
    report's folder without weights and confidences, small enough for a repository; a report built from them lacks only
    calibration. Three tiers can be shared, and each is printed with its size: records; scores (logits of every exit, for other
    exit policies without a GPU); weights.

    \b
    Examples:
      python -m benchmark report --grid quick
      python -m benchmark report --grid quick --format html
      python -m benchmark report --results lab --results cloud --out all
      python -m benchmark report --grid quick --format pdf --format records
      python -m benchmark report --grid quick --format records --with-scores fp16
    """
    tiers = [*([SCORES] if with_scores else []), *([WEIGHTS] if with_weights else [])]
    if tiers and "records" not in formats:
        raise UserError(f"--with-{tiers[0]} belongs to --format records; add it, or leave the option out")
    # This imports the plotting packages, which takes seconds: --help is answered without them.
    from reports.paper import build_report

    console = Console()
    store = MergedFolders(results_dirs or [DEFAULT_RESULTS])
    if grid_name is None:
        title, run_ids = store.root.name, store.run_ids()
        advice = "python -m benchmark run --grid"
    else:
        grid = load_grid(find_grid(grid_name), data_dir, changes)
        title, run_ids = grid.name, grid_run_ids(grid)
        advice = f"python -m benchmark run --grid {grid_name}"
    absent = [root for root in store.roots if not root.is_dir()]
    if results_dirs and absent:
        raise UserError(
            *(f"there is no folder {root}; use another one, or run this first: {advice}" for root in absent)
        )
    if not set(run_ids) & set(store.run_ids()):
        where = " or ".join(str(root / "runs") for root in store.roots)
        raise UserError(f"there is no finished run to report in {where}; run this first: {advice}")
    target = out or REPORTS_OUT / title
    with console.status("reading records") as status:
        say = Reporter(console).say if not console.is_terminal else status.update
        problems = build_report(
            store, run_ids, title=title, out=target, pictures=Pictures(data_dir), formats=(*formats, *tiers),
            say=say,
        )  # fmt: skip
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)
    show_report(console, target, full=full)
    if "records" in formats:
        for tier in shared_tiers(store, run_ids, target, tiers):
            options = {SCORES: "--with-scores fp16", WEIGHTS: "--with-weights"}
            more = "" if tier.included else f", not included; add it with {options[tier.name]}"
            console.print(f"{tier.name}: {size(tier.bytes)}{more}", markup=False, highlight=False, soft_wrap=True)
