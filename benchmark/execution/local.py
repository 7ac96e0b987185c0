"""Executes a plan on this machine: holds the results folder, runs the pool, handles Ctrl-C. No torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout
from rich.console import Console

from benchmark.errors import Interrupted, UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.interrupt import StopRequest
from benchmark.execution.pool import WorkerPool
from benchmark.grid.load import Grid
from benchmark.progress import Reporter, duration
from benchmark.stages.plan import Plan
from results.store.commands import LOCK, Command, new_session
from results.store.folder import Store
from results.store.locks import can_lock


@dataclass(frozen=True)
class LocalResult:
    """The result of executing a plan.

    Attributes:
        failed: ids of the runs that failed.
        deaths: how many workers were killed and replaced.
    """

    failed: list[str]
    deaths: int


def run_locally(console: Console, plan: Plan, config: ExecutionConfig) -> LocalResult:
    """Execute the missing runs of a plan in `config.workers` processes.

    Args:
        console: where to show progress.
        plan: of the runs to make.
        config: its session is replaced by that of this command.

    Raises:
        UserError: a mistake of the user, or another command runs in the folder.
        RankError: one of the processes that share a training died.
        Interrupted: all processes stopped on request, or died at a second one.
    """
    store = Store(config.results)
    store.prepare()
    if config.workers > 1 and not can_lock(store.root):
        raise UserError(
            f"{store.root} is on a file system without file locks, which several workers need: use another folder with "
            "--results, or omit --workers"
        )
    if config.join and not can_lock(store.root):
        raise UserError(f"{store.root} is on a file system without file locks, which --join needs")
    try:
        with _command(store, plan.grid, config) as session, StopRequest() as stop:
            reporter = Reporter(console, lambda: stop.requested)
            pool = WorkerPool(plan, config.model_copy(update={"session": session}), reporter)
            pool.run()
            reporter.say(f"All runs ended after {duration(reporter.elapsed)}")
    except KeyboardInterrupt:
        raise Interrupted from None
    except Timeout:
        raise UserError(
            f"another command is running in {store.root}; wait for it, share its work with --join, or use another folder "
            "with --results"
        ) from None
    failed = [run.run_id for run in plan.missing_runs if not store.is_done(run.run_id)]
    if not failed:
        shutil.rmtree(store.logs(session), ignore_errors=True)
    return LocalResult(failed, pool.deaths)


@contextmanager
def _command(store: Store, grid: Grid, config: ExecutionConfig) -> Iterator[str]:
    """The session of a command. It holds the folder, unless it joins other commands.

    Raises:
        Timeout: another command holds the folder.
    """
    if config.join:
        yield new_session()
        return
    with FileLock(store.root / LOCK, timeout=0), Command.open(store, grid.name, grid.source) as command:
        yield command.session
