"""``python -m benchmark cancel``: stop the processes or Slurm jobs that run a grid."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

from benchmark.cli.options import DEFAULT_GRID, changes_option, data_dir_option, grid_option, results_option
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from results.store.commands import Command
from results.store.folder import Store


@click.command("cancel")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@changes_option
@results_option
@data_dir_option
@click.option(
    "--now",
    is_flag=True,
    help="Stop a local command at once; the work since the last checkpoint is lost. Slurm jobs end as without it.",
)
def command(
    grid_name: str | None, changes: tuple[str, ...], results_dir: Path, data_dir: Path | None, now: bool
) -> None:
    """Stop the command that runs a grid in this results folder, and its workers, after their next checkpoint. Slurm jobs of the
    grid are cancelled; running ones first write a checkpoint, for which Slurm gives them its KillWait.

    \b
    Examples:
      python -m benchmark cancel --grid quick
      python -m benchmark cancel --grid quick --now
    """
    grid = load_grid(find_grid(grid_name or DEFAULT_GRID), data_dir, changes)
    store = Store(results_dir)
    jobs = cancel_jobs(store, grid.name) if (store.root / "submissions").is_dir() else None
    if jobs:
        click.echo(jobs)
    if jobs is None or Command.running(store):
        click.echo(cancel_local(store, grid.name, now=now))


def cancel_jobs(store: Store, grid: str) -> str | None:
    """Cancel a grid's Slurm jobs.

    Returns:
        a sentence that describes what was done; None if the grid has no jobs.

    Raises:
        UserError: squeue or scancel does not respond.
    """
    # Imports submitit, which only folders with submissions need.
    from benchmark.execution.slurm import scheduler
    from benchmark.execution.slurm.failures import note_cancelled
    from benchmark.execution.slurm.jobs import tasks_in_flight

    tasks = tasks_in_flight(store.root, grid)
    if not tasks:
        return None
    others = Counter(one.submission.owner for one in tasks if one.submission.owner != os.getuid())
    own = [one for one in tasks if one.submission.owner == os.getuid()]
    sentences = [
        f"{number} Slurm tasks belong to {_user(owner)}, who can cancel them" for owner, number in others.items()
    ]
    if own:
        scheduler.cancel({one.task.job.split("_")[0] for one in own})
        for one in own:
            if one.state.waits:  # it has no process that could record its end
                note_cancelled(store, one.submission, one.task)
        sentences.append(f"cancelled {len(own)} Slurm tasks; running ones write a checkpoint, from which 'run' resumes")
    return "\n".join(sentences)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user with id {uid}"


def cancel_local(store: Store, grid: str, *, now: bool) -> str:
    """Ask the command that runs in a folder to stop, or kill it and its workers.

    Returns:
        a sentence that describes what was done.

    Raises:
        UserError: the command runs another grid, or on another machine.
    """
    command = Command.running(store)
    if command is None:
        return f"nothing is running in {store.root}"
    if command.grid != grid:
        raise UserError(f"the command in {store.root} runs the grid {command.grid}, not {grid}")
    if command.host != socket.gethostname():
        raise UserError(f"{grid} is run by process {command.pid} on {command.host}: cancel it there")
    if not now:
        os.kill(command.pid, signal.SIGTERM)
        return f"process {command.pid} stops after its next checkpoint, from which 'run' resumes"
    # The command dies first, because it would replace dead workers. Its workers are stopped before that, because a worker
    # without its command ends by itself, after a checkpoint.
    groups = _process_groups(store, command) - {os.getpgrp()}
    _signal_groups(groups, signal.SIGSTOP)
    with suppress(ProcessLookupError):
        os.kill(command.pid, signal.SIGKILL)
    _signal_groups(groups, signal.SIGKILL)
    return f"killed process {command.pid} and its workers; 'run' resumes from the last checkpoints"


def _process_groups(store: Store, command: Command) -> set[int]:
    """The process groups of a command's workers that hold the lock of a stage: with their ranks and data loader processes."""
    groups = set()
    for folder in (store.root / "progress").glob("*"):
        progress = store.progress(folder.name)
        heartbeat = progress.heartbeat()
        if heartbeat and heartbeat.by.session == command.session and progress.is_locked():
            with suppress(ProcessLookupError):
                groups.add(os.getpgid(heartbeat.by.pid))
    return groups


def _signal_groups(groups: set[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)
