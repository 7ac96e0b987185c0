"""What the commands that train have in common: weights at hand, torch set up, a folder of one's own, Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from filelock import FileLock, Timeout
from rich.console import Console

from benchmark.cli.options import require_torch
from benchmark.errors import UserError
from benchmark.plan import Plan
from benchmark.progress import Reporter, duration
from benchmark.weights import fetch, missing
from results.store import Store

if TYPE_CHECKING:
    import torch

    from benchmark.execute.distributed import Team


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
    """Deterministic torch with this number of threads, and the device, checked. torch is imported here and not before.

    Raises:
        UserError: a package is not installed, or there is no such device.
    """
    require_torch()
    from benchmark.execute.device import set_up, usable_device

    set_up(threads)
    return usable_device(device)


def execute(
    console: Console,
    plan: Plan,
    store: Store,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    loader_processes: int | None,
    gpus: int = 1,
) -> list[str]:
    """Run what is missing; the ids of runs that failed.

    Args:
        gpus: that each training and scoring is shared among, by a process each; on the CPU, processes.

    Raises:
        UserError: something that the user must mend first; another process is at work in the folder.
        RankError: one of several processes failed or died.
        click.Abort: the user asked to stop.
    """
    require_torch()
    store.prepare()
    try:
        with FileLock(store.root / ".lock", timeout=0):
            for run in plan.missing_runs:
                store.set_aside(run.run_id)  # a failed run is tried again
            if gpus > 1 and threads is None and "OMP_NUM_THREADS" not in os.environ:
                threads = max(1, len(os.sched_getaffinity(0)) // gpus)
            found = set_up_torch(device, threads)
            with _team(gpus, device, store, data_dir, loader_processes) as team:
                return _execute_locked(console, plan, store, found, data_dir, loader_processes, team)
    except Timeout:
        raise UserError(
            f"another run is at work in {store.root}; wait for it, or name another folder with --results"
        ) from None


def _execute_locked(
    console: Console,
    plan: Plan,
    store: Store,
    device: torch.device,
    data_dir: Path | None,
    loader_processes: int | None,
    team: Team,
) -> list[str]:
    import torch

    from benchmark.execute.interrupt import StopRequest
    from benchmark.execute.local import execute_here
    from benchmark.execute.maker import StageMaker
    from benchmark.pipeline.fit import Interrupted

    with StopRequest() as stop:
        reporter = Reporter(console, lambda: stop.requested)
        shared = f", {team.ranks.size} processes together" if team.ranks.size > 1 else ""
        reporter.say(f"Running on {device} with {torch.get_num_threads()} threads{shared}")
        try:
            failed = execute_here(StageMaker(plan, store, reporter, device, data_dir, loader_processes, team=team))
        except Interrupted:
            raise click.Abort from None
        reporter.say(f"All runs ended after {duration(reporter.elapsed)}")
    return failed


@contextmanager
def _team(gpus: int, device: str, store: Store, data_dir: Path | None, loader_processes: int | None) -> Iterator[Team]:
    from benchmark.execute.distributed import Team
    from benchmark.execute.local_ranks import local_team

    if gpus == 1:
        yield Team()
        return
    with local_team(gpus, device, store, data_dir, loader_processes) as team:
        yield team
