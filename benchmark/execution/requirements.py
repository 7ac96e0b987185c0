"""What the missing runs of a plan need before anything trains: data, weights, disk space, time. Imports no torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import registry
from benchmark.errors import UserError
from benchmark.execution.estimate import Estimator, total
from benchmark.execution.rates import measured_rates
from benchmark.execution.units import units_of
from benchmark.stages.plan import Plan
from benchmark.weights import can_be_downloaded, fetch_missing, missing
from datasets.api import DataError
from results.spec import RunSpec
from results.store.folder import Store

CORE_TFLOPS = 0.015
"""Assumed throughput of a CPU core in 10^12 operations a second: that of the CPU-sized backbones in results/reference."""
GPU_TFLOPS = 10.0
"""Assumed throughput of a GPU, as for Slurm."""


@dataclass(frozen=True)
class Requirements:
    """What the missing runs need.

    Attributes:
        data: names of the datasets that are not on this machine, to what brings them.
        weights: sources of weights that are not on this machine.
        artifact_bytes: size of what will be stored.
        checkpoint_bytes: size of the largest checkpoints, removed when their stage is done.
        free_bytes: space in the results folder.
        hours: of computing, on one device.
        basis: what `hours` rests on.
    """

    data: dict[str, str]
    weights: list[str]
    artifact_bytes: int
    checkpoint_bytes: int
    free_bytes: int
    hours: float
    basis: str

    @property
    def fits(self) -> bool:
        """Whether the disk has room."""
        return self.artifact_bytes + self.checkpoint_bytes <= self.free_bytes


def requirements(plan: Plan, store: Store, data_dir: Path | None) -> Requirements:
    """What the missing runs of a plan need.

    Args:
        plan: of the grid.
        store: the results folder.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.
    """
    specs = [run.spec for run in plan.missing_runs]
    estimator = Estimator(plan, store)
    estimates = [estimator.unit(unit) for unit in units_of(plan, {})]
    whole = total(estimates)
    tflops, basis = _throughput(plan, store)
    sources = dict.fromkeys(spec.train.weights.source for spec in specs)
    return Requirements(
        data={name: registry.card("dataset", name).how_to_get for name in missing_data(specs, data_dir)},
        weights=[source for source in sources if missing(source, data_dir)],
        artifact_bytes=whole.artifact_bytes,
        checkpoint_bytes=max((estimate.checkpoint_bytes for estimate in estimates), default=0),
        free_bytes=shutil.disk_usage(next(place for place in (store.root, *store.root.parents) if place.exists())).free,
        hours=whole.hours(tflops),
        basis=basis,
    )


def missing_data(runs: Iterable[RunSpec], data_dir: Path | None) -> dict[str, str]:
    """Each dataset of the runs that is not on this machine, with a message: where it was searched, and what brings it."""
    messages = {}
    for name in dict.fromkeys(run.train.dataset.name for run in runs):
        try:
            registry.card("dataset", name).find(data_dir)
        except DataError as error:
            messages[name] = str(error)
    return messages


def fetch_weights(
    runs: Sequence[RunSpec],
    data_dir: Path | None,
    offline: bool,
    say: Callable[[str], None],
    *,
    needs_data: bool = True,
) -> bool:
    """Download the pretrained weights of runs that are not on this machine.

    Args:
        runs: to be trained.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.
        offline: never use the network.
        say: receives a line about each download.
        needs_data: whether the runs are trained on this machine, so that nothing is downloaded while their data are missing.

    Returns:
        whether a file was downloaded; see `fetch_missing`.

    Raises:
        UserError: data or weights are missing, or a download failed.
    """
    sources = [run.train.weights.source for run in runs]
    waiting = [run for run in runs if missing(run.train.weights.source, data_dir)]
    if needs_data and (messages := missing_data(waiting, data_dir)):
        absent = dict.fromkeys(run.train.weights.source for run in waiting)
        raise UserError(*messages.values(), *(_not_here(source, data_dir, offline) for source in absent))
    return fetch_missing(sources, data_dir, offline, say)


def _not_here(source: str, data_dir: Path | None, offline: bool) -> str:
    action = "--offline forbids the download" if offline else "run downloads them when the data are there"
    return f"{missing(source, data_dir)}{f'; {action}' if can_be_downloaded(source) else ''}"


def _throughput(plan: Plan, store: Store) -> tuple[float, str]:
    """Operations a second in 10^12, and a phrase on where the number comes from."""
    if rates := measured_rates(plan, store):
        return rates[0].tflops, f"at the speed of {rates[0].basis}"
    if shutil.which("nvidia-smi"):
        return GPU_TFLOPS, f"assumed: {GPU_TFLOPS:g} TFLOP/s on one GPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tflops = cores * CORE_TFLOPS
    return tflops, f"assumed: {tflops:.2g} TFLOP/s on {cores} CPU core{'' if cores == 1 else 's'}"
