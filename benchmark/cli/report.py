"""``python -m benchmark report``: from records and outcomes alone, without torch."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import DEFAULT_RESULTS, REPORTS_OUT, data_dir_option, grid_option, out_option
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.progress import Reporter
from benchmark.stages.graph import run_stages
from results.store.merged_folders import MergedFolders

FORMATS = ("pdf", "html", "csv", "latex", "markdown", "parquet", "records")


@click.command("report")
@grid_option("Only the runs of this grid; without the option, every run in the results folders.")
@click.option(
    "--results",
    "results_dirs",
    type=click.Path(path_type=Path, resolve_path=True),
    multiple=True,
    show_default="results/ of the checkout",
    help="A results folder; may be given more than once.",
)
@data_dir_option
@out_option
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    show_default="pdf, csv and markdown",
    help="May be given more than once.",
)
def command(
    grid_name: str | None,
    results_dirs: tuple[Path, ...],
    data_dir: Path | None,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Rebuild the report from the records and outcomes in results folders.

    Of several folders, say of several people, the records are read as one set. Where two folders hold a run of the same name, a
    finished one counts before a failed or damaged one, and of two that differ that of the folder named first; this is said here
    and in the report, as is what was left out. pdf brings its figures with it, as PDF, SVG and PNG.
    records puts the records beside the report in a form small enough for a repository: without weights and confidences, so that
    nothing but calibration is missing from a report that is made from them.

    \b
    Examples:
      python -m benchmark report --grid quick
      python -m benchmark report --grid quick --format html
      python -m benchmark report --results mine/results --results theirs/results --out our/report
      python -m benchmark report --grid quick --format pdf --format records --out shared/quick
    """
    from benchmark.pictures import Pictures
    from reports.paper import DEFAULT, build_report, report_files

    console = Console()
    store = MergedFolders(results_dirs or [DEFAULT_RESULTS])
    if grid_name is None:
        title, run_ids = store.root.name, store.run_ids()
        advice = "python -m benchmark run --grid"
    else:
        grid = load_grid(find_grid(grid_name), data_dir)
        title, run_ids = grid.name, list(dict.fromkeys(run_stages(run).run_id for run in grid.runs))
        advice = f"python -m benchmark run --grid {grid_name}"
    absent = [root for root in store.roots if not root.is_dir()]
    if results_dirs and absent:
        raise UserError(*(f"there is no folder {root}; name another, or run this first: {advice}" for root in absent))
    if not set(run_ids) & set(store.run_ids()):
        where = " or ".join(str(root / "runs") for root in store.roots)
        raise UserError(f"there is no finished run to report in {where}; run this first: {advice}")
    target = out or REPORTS_OUT / title
    asked = tuple(name for name in FORMATS if name in (formats or DEFAULT))
    with console.status("reading records") as status:
        say = Reporter(console).say if not console.is_terminal else status.update
        problems = build_report(
            store, run_ids, title=title, out=target, pictures=Pictures(data_dir), formats=asked, say=say
        )
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print((target / "table.txt").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    for path, what in report_files(target):
        console.print(f"{path}  {what}", markup=False, highlight=False, soft_wrap=True)
