"""``python -m benchmark plan``: which runs and stages of a grid are finished, and why others are not."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import DEFAULT_GRID, changes_option, data_dir_option, grid_option, results_option
from benchmark.cli.plan_view import show_damaged, show_late_endpoint, show_plan, show_requirements
from benchmark.execution.requirements import requirements
from benchmark.grid.load import find_grid, load_grid
from benchmark.run_reference import find_run
from benchmark.stages.plan import Plan, make_plan, why_stale
from results.store.folder import Store


@click.command("plan")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@changes_option
@results_option
@data_dir_option
@click.option("--why", "why_run", metavar="RUN", help="Name the fields in which this run's stages are new.")
def command(
    grid_name: str | None, changes: tuple[str, ...], results_dir: Path, data_dir: Path | None, why_run: str | None
) -> None:
    """Show the runs and stages of a grid: which are finished, which are shared, and what the others need.

    It names datasets and weights that are not on this machine, with the command that brings them, the disk space, and the
    estimated time with what the estimate rests on.

    \b
    Examples:
      python -m benchmark plan --grid quick
      python -m benchmark plan --grid quick --why RUN
    """
    console = Console()
    store = Store(results_dir)
    plan = make_plan(load_grid(find_grid(grid_name or DEFAULT_GRID), data_dir, changes), store)
    show_damaged(console, plan)
    show_late_endpoint(console, plan, store)
    if why_run is None:
        show_plan(console, plan, runs=True)
        if plan.missing_runs:
            console.print()
            show_requirements(console, requirements(plan, store, data_dir))
    else:
        _show_why(console, plan, store, why_run)


def _show_why(console: Console, plan: Plan, store: Store, reference: str) -> None:
    runs = {run.run_id: run for run in plan.runs}
    run_id = find_run(reference, runs, f"the grid {plan.grid.name}")
    if run_id in plan.done_runs:
        console.print(f"{run_id} is finished")
        return
    for stage in runs[run_id].chain:
        if plan.is_done(stage):
            console.print(f"{stage.name}: finished", highlight=False)
            continue
        console.print(f"{stage.name}: to do; compared with the nearest finished {stage.kind} stage:", highlight=False)
        for line in why_stale(stage, store) or ["there is none"]:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
