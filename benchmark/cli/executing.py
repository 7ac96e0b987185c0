"""What the commands that train have in common: weights at hand, torch set up, a folder of one's own, Ctrl-C."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from filelock import FileLock, Timeout
from rich.console import Console

from benchmark.environment import require_torch
from benchmark.errors import UserError
from benchmark.progress import Reporter, duration
from benchmark.stages.plan import Plan
from benchmark.weights import fetch, missing
from results.store.commands import LOCK, Command
from results.store.folder import Store
from results.store.locks import can_lock

if TYPE_CHECKING:
    import torch

    from benchmark.execution.distributed import Team


def bring_weights(console: Console, sources: Sequence[str], data_dir: Path | None, offline: bool) -> bool:
    """Fetch the pretrained weights that are not on this machine.

    Returns:
        whether any was fetched; a spec that was read before does not know its hash.

    Raises:
        UserError: a file is not there, or may not or cannot be fetched.
    """
    absent = {source: sentence for source in sources if (sentence := missing(source, data_dir))}
    refused = [source for source in absent if offline or source.startswith("file:")]
    if refused:
        why = "; --offline forbids the download" if offline else ""
        raise UserError(*(absent[source] + ("" if source.startswith("file:") else why) for source in refused))
    for number, source in enumerate(absent, start=1):
        console.print(f"weights {number}/{len(absent)}: fetching {source}", markup=False, highlight=False)
        fetch(source, data_dir)
    return bool(absent)


def set_up_torch(device: str, threads: int | None) -> torch.device:
    """`benchmark.execution.device.set_up_torch`; torch is imported here and not before.

    Raises:
        UserError: a package is not installed, or there is no such device.
    """
    require_torch()
    from benchmark.execution import device as devices

    return devices.set_up_torch(device, threads)


def execute(
    console: Console,
    plan: Plan,
    store: Store,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    loader_processes: int | None,
    workers: int = 1,
    gpus: int = 1,
) -> list[str]:
    """Run what is missing; the ids of runs that failed.

    Args:
        workers: processes that share the work, a stage each.
        gpus: that each training and scoring is shared among, by a process each; on the CPU, processes.

    Raises:
        UserError: something that the user must mend first; another process is at work in the folder.
        click.Abort: the user asked to stop.
    """
    require_torch()
    store.prepare()
    if workers > 1 and not can_lock(store.root):
        raise UserError(
            f"{store.root} lies on a file system that cannot lock files, which several workers need: name another folder with "
            "--results, or leave out --workers"
        )
    try:
        with FileLock(store.root / LOCK, timeout=0), Command.open(store, plan.grid.name) as command:
            if gpus > 1 and threads is None and "OMP_NUM_THREADS" not in os.environ:
                threads = max(1, len(os.sched_getaffinity(0)) // gpus)
            chosen = set_up_torch(device, threads)
            if workers > 1:
                _execute_in_several(console, plan, store, chosen, threads, data_dir, loader_processes, workers, command)
            else:
                with _team(gpus, device, store, data_dir, loader_processes) as team:
                    _execute_here(console, plan, store, chosen, data_dir, loader_processes, command, team)
    except Timeout:
        raise UserError(
            f"another run is at work in {store.root}; wait for it, or name another folder with --results"
        ) from None
    failed = [run.run_id for run in plan.missing_runs if not store.is_done(run.run_id)]
    if not failed:
        shutil.rmtree(store.logs(command.session), ignore_errors=True)
    return failed


def _execute_here(
    console: Console,
    plan: Plan,
    store: Store,
    device: torch.device,
    data_dir: Path | None,
    loader_processes: int | None,
    command: Command,
    team: Team,
) -> None:
    import torch

    from benchmark.execution.local import execute_here
    from benchmark.execution.maker import StageMaker

    with _stoppable(console) as reporter:
        shared = f", {team.ranks.size} processes that train together" if team.ranks.size > 1 else ""
        reporter.say(f"Running on {device} with {torch.get_num_threads()} threads{shared}")
        execute_here(StageMaker(plan, store, reporter, device, data_dir, loader_processes, command.session, team=team))


@contextmanager
def _team(gpus: int, device: str, store: Store, data_dir: Path | None, loader_processes: int | None) -> Iterator[Team]:
    """This process alone, or with others that it starts."""
    from benchmark.execution.distributed import Team
    from benchmark.execution.local_ranks import local_team

    if gpus == 1:
        yield Team()
        return
    with local_team(gpus, device, store, data_dir, loader_processes) as team:
        yield team


def _execute_in_several(
    console: Console,
    plan: Plan,
    store: Store,
    device: torch.device,
    threads: int | None,
    data_dir: Path | None,
    loader_processes: int | None,
    workers: int,
    command: Command,
) -> None:
    import torch

    from benchmark.execution.crew import Crew, orders_for
    from benchmark.execution.maker import StageMaker
    from benchmark.execution.worker import Order

    each = threads or max(1, torch.get_num_threads() // workers)
    devices = [str(device)]
    if device.type == "cuda" and device.index is None:
        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    logs = store.logs(command.session)
    loaders = max(0, len(os.sched_getaffinity(0)) // workers - 1)
    order = Order(
        plan.grid, store.root, "", each, data_dir, loader_processes, loaders, command.session, logs, console.is_terminal
    )
    with _stoppable(console) as reporter:
        where = device if len(devices) == 1 else f"{len(devices)} GPUs"
        threads_each = "1 thread" if each == 1 else f"{each} threads"
        reporter.say(f"Running on {where} with {workers} workers of {threads_each} each; their logs: {logs}")
        StageMaker(plan, store, reporter, device, data_dir, loader_processes).check()
        for run in plan.missing_runs:
            store.set_aside(run.run_id)  # from here on a failed record is one of this command
        Crew(orders_for(workers, order, devices), store, reporter).run()


@contextmanager
def _stoppable(console: Console) -> Iterator[Reporter]:
    """A reporter that knows of Ctrl-C.

    Raises:
        click.Abort: the user asked to stop, and everything did.
    """
    from benchmark.execution.interrupt import StopRequest
    from benchmark.training.loop import Interrupted

    with StopRequest() as stop:
        reporter = Reporter(console, lambda: stop.requested)
        try:
            yield reporter
        except Interrupted:
            raise click.Abort from None
        reporter.say(f"All runs ended after {duration(reporter.elapsed)}")
