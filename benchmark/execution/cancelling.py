"""Stops what runs a grid: the command in the results folder, and Slurm jobs. Imports no torch."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from results.store.commands import Command
from results.store.folder import Store


def cancel(store: Store, grid: str, *, now: bool) -> list[str]:
    """Cancel a grid's Slurm jobs, and stop the command that runs it in this folder.

    Args:
        store: the results folder.
        grid: its name.
        now: whether to kill a command, instead of asking it to stop.

    Returns:
        sentences that describe what was done.

    Raises:
        UserError: squeue or scancel does not respond, the command runs on another machine, or there are no jobs and it runs
            another grid.
    """
    jobs = cancel_jobs(store, grid) if _has_submissions(store) else None
    sentences = [jobs] if jobs else []
    command = Command.running(store)
    if jobs is None or (command and command.grid == grid):
        sentences.append(cancel_local(store, grid, now=now))
    return sentences


def name_of_grid(store: Store, text: str, data_dir: Path | None, changes: Sequence[str]) -> str:
    """The name of a grid to cancel, also if its file was removed or edited into an invalid one since the grid was started.

    Args:
        store: the results folder.
        text: a shipped grid's name, a path, or the name of a grid that was started in the folder.
        data_dir: the user's folder of datasets and weights, if any.
        changes: to the file.

    Raises:
        UserError: the file is invalid or missing, and no grid or several were started from it.
    """
    try:
        return load_grid(find_grid(text), data_dir, changes).name
    except UserError:
        started = _started(store)
        names = {name for name, _ in started if name == text} or {
            name for name, source in started if source == Path(text).resolve()
        }
        if len(names) > 1:
            raise UserError(
                f"{text} was started as {', '.join(sorted(names))}: give one of these names with --grid"
            ) from None
        if not names:
            raise
        return names.pop()


def _started(store: Store) -> list[tuple[str, Path | None]]:
    """Names and files of the grids that the folder's command runs or that were submitted."""
    command = Command.running(store)
    started: list[tuple[str, Path | None]] = [(command.grid, command.source)] if command else []
    if _has_submissions(store):
        from benchmark.execution.slurm.submission import submissions

        for submission, manifest in submissions(store.root):
            with suppress(OSError, ValidationError):
                started.append((manifest.grid, submission.settings().source))
    return started


def _has_submissions(store: Store) -> bool:
    return (store.root / "submissions").is_dir()


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
        resumes = "running ones write a checkpoint, from which 'run' resumes"
        sentences.append(f"cancelled {len(own)} Slurm tasks of {grid}; {resumes}")
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
