"""The times of a run's operating points on this machine, in batches of one image: read from the results folder, or measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.measure.checked_model import Subject
from benchmark.measure.grid_latency import IMAGES, WARMUP
from benchmark.measure.timed_run import measure_run
from results.provenance import Machine
from results.record import DoneRecord
from results.store.folder import Store
from results.store.latency import Latency, read_latencies
from results.text import printable

PRECISION = "fp32"
"""In which `predict` and the exported graphs run."""


@dataclass(frozen=True)
class TimingSetup:
    """The device whose times count, and how times are measured.

    Attributes:
        device: of this machine.
        data_dir: the user's folder of datasets, if any; the test images are timed.
        say: prints a progress message; None to measure nothing.
    """

    device: torch.device
    data_dir: Path | None = None
    say: Callable[[str], None] | None = None


def measured_times(
    store: Store, record: DoneRecord, label: str, option: str, timing: TimingSetup
) -> dict[float, float]:
    """Mean milliseconds per image on this machine in batches of one, by threshold; of several measurements, the slowest counts.

    Times of other hardware or with another number of threads are not used.

    Args:
        store: the results folder.
        record: of the run.
        label: of the policy.
        option: of the command line, for messages.
        timing: if it measures, all operating points with one threshold are measured where no time of this machine is stored.

    Raises:
        UserError: there is no measurement on this machine, or none can be made.
    """
    machine = provenance.machine(str(timing.device))
    stored = [
        latency
        for latency in read_latencies(store, []).get(record.run_id, [])
        if latency.at(1) is not None and latency.point.startswith(f"{label}/")
    ]
    times = _times(stored, machine)
    if times:
        return times
    others = sorted({printable(f"{latency.machine.name}, {latency.precision}") for latency in stored})
    elsewhere = f" (but on {' and '.join(others)})" if others else ""
    sentence = f"{record.run_id} with {label} was not timed on this machine, {machine.name}, {PRECISION}{elsewhere}"
    if timing.say is None:
        raise UserError(
            f"{option}: {sentence}; measure it with: "
            f"python -m benchmark deploy {record.run_id} --budget 5ms --policy '{label}' --results {store.root}"
        )
    if others:
        timing.say(f"{sentence}, so it is timed now")
    return _measure(store, record, label, option, timing, timing.say)


def _times(latencies: list[Latency], machine: Machine) -> dict[float, float]:
    """Mean milliseconds per image by threshold, of the measurements on a machine."""
    times: dict[float, float] = {}
    for latency in latencies:
        timing = latency.at(1)
        if timing is not None and latency.precision == PRECISION and _hardware(latency.machine) == _hardware(machine):
            times[latency.threshold] = max(timing.dynamic.mean, times.get(latency.threshold, -math.inf))
    return times


def _hardware(machine: Machine) -> tuple[object, ...]:
    """What the time of an image depends on most."""
    return machine.device.partition(":")[0], machine.gpu, machine.cpu, machine.threads


def _measure(
    store: Store, record: DoneRecord, label: str, option: str, timing: TimingSetup, say: Callable[[str], None]
) -> dict[float, float]:
    """Time each threshold of the policy's operating points once."""
    single = (point for point in record.points if point.policy == label and len(point.settings) == 1)
    points = {point.settings[0].threshold: point.name for point in single}
    if not points:
        raise UserError(f"{option}: {record.run_id} has no operating point of {label} with one threshold to be timed")
    latencies = []
    for name in points.values():
        say(f"timing {name} ...")
        subject = Subject.of(
            store, record.run_id, name, timing.device, precision=PRECISION, images=IMAGES, threads=None,
            data_dir=timing.data_dir,
        )  # fmt: skip
        latencies.append(measure_run(subject, (1,), lambda line: None, warmup=WARMUP)[1])
    return _times(latencies, provenance.machine(str(timing.device)))
