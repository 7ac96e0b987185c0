"""``python -m benchmark cancel``: what works on a grid is asked to stop, or stopped."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import click

from benchmark.cli.options import DEFAULT_GRID, data_dir_option, grid_option, results_option
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from results.store.commands import Command
from results.store.folder import Store


@click.command("cancel")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@results_option
@data_dir_option
@click.option("--now", is_flag=True, help="Stop at once; what was done since the last checkpoint is done again.")
def command(grid_name: str | None, results_dir: Path, data_dir: Path | None, now: bool) -> None:
    """Ask the command that runs a grid in this results folder, and its workers, to stop behind the next checkpoint; cancel its
    Slurm jobs, which write one as well.

    \b
    Examples:
      python -m benchmark cancel --grid quick
      python -m benchmark cancel --grid quick --now
    """
    grid = load_grid(find_grid(grid_name or DEFAULT_GRID), data_dir)
    store = Store(results_dir)
    jobs = cancel_jobs(store, grid.name) if (store.root / "submissions").is_dir() else None
    if jobs:
        click.echo(jobs)
    if jobs is None or Command.at_work(store):
        click.echo(cancel_local(store, grid.name, now=now))


def cancel_jobs(store: Store, grid: str) -> str | None:
    """Cancel a grid's Slurm jobs.

    Returns:
        what was done, in a sentence; None where there are none.

    Raises:
        UserError: squeue or scancel does not answer.
    """
    from benchmark.execution.slurm import scheduler  # imports submitit, only where it was used
    from benchmark.execution.slurm.jobs import tasks_in_flight

    jobs = [task.job for _, task in tasks_in_flight(store.root, grid)]
    if not jobs:
        return None
    scheduler.cancel({job.split("_")[0] for job in jobs})
    return f"cancelled {len(jobs)} Slurm tasks; those at work write a checkpoint, and 'run' goes on from there"


def cancel_local(store: Store, grid: str, *, now: bool) -> str:
    """Ask the command at work in a folder, or stop it.

    Returns:
        what was done, in a sentence.

    Raises:
        UserError: it runs another grid, or on another machine.
    """
    command = Command.at_work(store)
    if command is None:
        return f"nothing is at work in {store.root}"
    if command.grid != grid:
        raise UserError(f"what is at work in {store.root} runs the grid {command.grid}, not {grid}")
    if command.host != socket.gethostname():
        raise UserError(f"{grid} is run by process {command.pid} on {command.host}: cancel it there")
    if not now:
        os.kill(command.pid, signal.SIGTERM)
        return f"asked process {command.pid} to stop; it does behind its next checkpoint, and 'run' goes on from there"
    # Workers first would be replaced; those that nobody sees at work end by themselves when they are left behind. They are
    # looked up before, so that none of them has the time to.
    workers = _workers(store, command) - {command.pid}
    with suppress(ProcessLookupError):
        os.kill(command.pid, signal.SIGKILL)
    for worker in workers:
        with suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)  # each leads a group, in which the processes are that make its batches
    return f"stopped process {command.pid} and its workers; 'run' goes on from the last checkpoints"


def _workers(store: Store, command: Command) -> set[int]:
    """The processes of a command that hold a stage."""
    found = set()
    for folder in (store.root / "progress").glob("*"):
        progress = store.progress(folder.name)
        heartbeat = progress.heartbeat()
        if heartbeat and heartbeat.by.session == command.session and progress.is_being_made():
            found.add(heartbeat.by.pid)
    return found
