"""``python -m benchmark run --rehearse``: every model of a grid at full size, two steps each."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.grid_report import report_folder, write_report
from benchmark.cli.plan_view import show_plan
from benchmark.environment import require_torch
from benchmark.errors import Interrupted
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.rehearse import rehearsal_of, rehearse
from benchmark.grid.load import Grid
from benchmark.progress import duration
from benchmark.stages.plan import make_plan
from results.store.folder import Store


def show_rehearsal(
    console: Console, grid: Grid, config: ExecutionConfig, out: Path | None, formats: tuple[str, ...]
) -> None:
    """Rehearse a grid, report on it, and remove its useless weights."""
    require_torch()
    small = rehearsal_of(grid)
    store = Store(config.results / "rehearsals" / grid.name)
    target = report_folder(out, small.name, store, formats)
    start = time.monotonic()
    show_plan(console, make_plan(small, store))
    changes = {"results": store.root, "data_dir": None, "loader_processes": 0, "kill_each_training": True}
    try:
        result = rehearse(console, small, config.model_copy(update=changes))
    except Interrupted as error:
        raise Interrupted("a rehearsal starts anew") from error
    run_ids = [run.run_id for run in make_plan(small, store).runs]
    if formats:
        write_report(console, store, run_ids, title=small.name, out=target, formats=formats)
    shutil.rmtree(store.root / "stages", ignore_errors=True)
    layout = f"; the report in {target} shows the layout, its numbers are meaningless" if formats else ""
    console.print(
        f"Rehearsed {grid.name} in {duration(time.monotonic() - start)}: "
        f"{len(run_ids) - len(result.failed)} of {len(run_ids)} models finished, {result.deaths} trainings were killed and "
        f"resumed{layout}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    if result.failed:
        raise click.exceptions.Exit(1)
