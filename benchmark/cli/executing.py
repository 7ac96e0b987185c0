"""What the commands that train have in common: weights at hand, torch set up, a folder of one's own, Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when CUDA starts
    import torch

    from benchmark.execute.device import usable_device

    torch.use_deterministic_algorithms(True)
    if threads is not None:
        torch.set_num_threads(threads)
    return usable_device(device)


def execute(
    console: Console,
    plan: Plan,
    store: Store,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    loader_processes: int | None,
) -> list[str]:
    """Run what is missing; the ids of runs that failed.

    Raises:
        UserError: something that the user must mend first; another process is at work in the folder.
        click.Abort: the user asked to stop.
    """
    require_torch()
    store.prepare()
    try:
        with FileLock(store.root / ".lock", timeout=0):
            for run in plan.missing_runs:
                store.set_aside(run.run_id)  # a failed run is tried again
            return _execute_locked(console, plan, store, set_up_torch(device, threads), data_dir, loader_processes)
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
) -> list[str]:
    import torch

    from benchmark.execute.interrupt import StopRequest
    from benchmark.execute.local import execute_here
    from benchmark.execute.maker import StageMaker
    from benchmark.pipeline.fit import Interrupted

    with StopRequest() as stop:
        reporter = Reporter(console, lambda: stop.requested)
        reporter.say(f"Running on {device} with {torch.get_num_threads()} threads")
        try:
            failed = execute_here(StageMaker(plan, store, reporter, device, data_dir, loader_processes))
        except Interrupted:
            raise click.Abort from None
        reporter.say(f"All runs ended after {duration(reporter.elapsed)}")
    return failed
