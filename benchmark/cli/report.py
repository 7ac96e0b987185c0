"""``python -m benchmark report``: from records and outcomes alone, without torch."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import REPORTS_OUT, data_dir_option, grid_option, results_option
from benchmark.errors import UserError
from benchmark.grid import find_grid, load_grid
from benchmark.pipeline.stages import run_stages
from results.store import Store


@click.command("report")
@grid_option("Only the runs of this grid; without the option, every run in the results folder.")
@results_option
@data_dir_option
@click.option("--out", type=click.Path(path_type=Path, resolve_path=True), help="The report's folder.")
def command(grid_name: str | None, results_dir: Path, data_dir: Path | None, out: Path | None) -> None:
    """Rebuild the PDF, the figures and the tables from the records and outcomes in a results folder.

    \b
    Examples:
      python -m benchmark report --grid quick
      python -m benchmark report --results copied/results --out my/report
    """
    from benchmark.pictures import Pictures
    from reports.paper import build_report, report_files

    console = Console()
    store = Store(results_dir)
    if grid_name is None:
        title, run_ids = results_dir.name, store.run_ids()
        advice = "python -m benchmark run --grid"
    else:
        grid = load_grid(find_grid(grid_name), data_dir)
        title, run_ids = grid.name, list(dict.fromkeys(run_stages(run).run_id for run in grid.runs))
        advice = f"python -m benchmark run --grid {grid_name}"
    if not any((store.run(run_id) / "record.json").is_file() for run_id in run_ids):
        raise UserError(f"there is no finished run to report in {store.root / 'runs'}; run this first: {advice}")
    target = out or REPORTS_OUT / title
    problems = build_report(store, run_ids, title=title, out=target, pictures=Pictures(data_dir))
    for problem in problems:
        console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print((target / "table.txt").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    for path, what in report_files(target):
        console.print(f"{path}  {what}", markup=False, highlight=False, soft_wrap=True)
