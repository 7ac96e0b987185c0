"""Shows the status of a grid repeatedly; `status --watch` and `run --wait` share it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import click
from rich.console import Console
from rich.live import Live

from benchmark.cli.status_view import screen
from benchmark.errors import UserError
from benchmark.execution.status import Scheduled, Status, no_scheduler
from benchmark.stages.plan import Plan, refreshed
from results.store.commands import Command
from results.store.folder import Store

REFRESH_SECONDS = 2.0
SCHEDULER_SECONDS = 30.0
"""Time between two questions to Slurm, whose controller serves all users."""
SUBMISSIONS = "submissions"


def scheduler_states(store: Store, plan: Plan) -> Mapping[str, Scheduled]:
    """Slurm's states of a plan's stages by name; empty if nothing was submitted or Slurm does not respond."""
    if not (store.root / SUBMISSIONS).is_dir():
        return no_scheduler(store, plan)
    from benchmark.execution.slurm.jobs import scheduled_stages  # imports submitit, which only submissions need

    try:
        return scheduled_stages(store, plan)
    except UserError as error:
        click.echo(f"{error}; the status is from the results folder alone", err=True)
        return {}


def follow(
    console: Console, plan: Plan, store: Store, continues: Callable[[Status], bool], *, runs: bool = False
) -> None:
    """Show the status until ``continues`` returns False: the screen on a terminal, elsewhere a line when the totals change.

    With submissions in the folder, ``continues`` is called as seldom as Slurm is asked.
    """
    totals, scheduled, asked_at = None, no_scheduler(store, plan), -math.inf
    wait = SCHEDULER_SECONDS if (store.root / SUBMISSIONS).is_dir() else 0.0
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, vertical_overflow="crop") as view:
        while True:
            current = refreshed(plan, store)
            if asks := time.monotonic() - asked_at >= wait:
                scheduled, asked_at = scheduler_states(store, current), time.monotonic()
            status = Status(current, store, scheduled)
            command = Command.running(store)
            if console.is_terminal:
                view.update(screen(status, command, runs=runs), refresh=True)
            elif totals != status.totals:
                totals = status.totals
                click.echo(", ".join(f"{count} {state}" for state, count in totals.items() if count))
            if asks and not continues(status):
                return
            time.sleep(REFRESH_SECONDS)
