"""``python -m benchmark status``: the state of each run of a grid."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.follow import SUBMISSIONS, follow, scheduler_states
from benchmark.cli.options import DEFAULT_GRID, changes_option, data_dir_option, grid_option, results_option
from benchmark.cli.plan_view import show_damaged
from benchmark.cli.status_view import as_json, screen
from benchmark.errors import UserError
from benchmark.execution.status import Status, status_of
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.commands import Command
from results.store.folder import Store


@click.command("status")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@changes_option
@results_option
@data_dir_option
@click.option(
    "--watch", is_flag=True, help="Refresh every two seconds (Slurm: every 30), until all runs have ended or Ctrl-C."
)
@click.option("--runs", is_flag=True, help="Also list every run.")
@click.option("--json", "as_text", is_flag=True, help="Print the status as JSON.")
def command(
    grid_name: str | None,
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    watch: bool,
    runs: bool,
    as_text: bool,
) -> None:
    """Show which runs are done, running, queued, failed, blocked or lost; the speed and remaining time of running stages; and
    the causes of failures.

    \b
    Examples:
      python -m benchmark status --grid quick
      python -m benchmark status --grid quick --watch
      python -m benchmark status --grid quick --json
    """
    console = Console(highlight=False)
    store = Store(results_dir)
    plan = make_plan(load_grid(find_grid(grid_name or DEFAULT_GRID), data_dir, changes), store)
    if watch:
        follow(console, plan, store, _is_active, runs=runs)
        return
    status = status_of(plan, store, scheduler_states)
    if as_text:
        click.echo(json.dumps(as_json(status, Command.running(store)), indent=1))
    else:
        show_damaged(console, plan)
        console.print(screen(status, Command.running(store), runs=runs), soft_wrap=not console.is_terminal)
        _warn_of_submissions(console, store)


def _warn_of_submissions(console: Console, store: Store) -> None:
    """Name submissions that cannot be read, and those that run other code."""
    if (store.root / SUBMISSIONS).is_dir():
        # Imports submitit, which only submissions need.
        from benchmark.execution.slurm.jobs import other_code, unreadable_submissions

        for sentence in unreadable_submissions(store.root):
            console.print(sentence, style="yellow", soft_wrap=True)
        with suppress(UserError):  # git or squeue does not respond
            for sentence in other_code(store.root):
                console.print(sentence, style="yellow", soft_wrap=True)


def _is_active(status: Status) -> bool:
    totals = status.totals
    if totals["running"] or totals["queued"]:
        return True
    return totals["lost"] > 0 and Command.running(status.store) is not None  # which replaces lost processes
