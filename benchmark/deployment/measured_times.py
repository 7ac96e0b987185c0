"""The measured times of a run's operating points in batches of one image: read from the results folder, or made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.errors import UserError
from benchmark.measure.checked_model import Subject
from benchmark.measure.grid_latency import IMAGES, WARMUP
from benchmark.measure.timed_run import measure_run
from results.record import DoneRecord
from results.store.folder import Store
from results.store.latency import read_latencies


@dataclass(frozen=True)
class TimingSetup:
    """Measures what was not measured.

    Attributes:
        device: to measure on.
        data_dir: the user's folder of datasets, if any; the test images are timed.
        say: prints a progress message.
    """

    device: torch.device
    data_dir: Path | None
    say: Callable[[str], None]


def measured_times(
    store: Store, record: DoneRecord, label: str, option: str, timing: TimingSetup | None
) -> dict[float, float]:
    """Mean milliseconds per image in batches of one, by threshold; of several devices or precisions, the slowest counts.

    Args:
        store: the results folder.
        record: of the run.
        label: of the policy.
        option: of the command line, for messages.
        timing: measures all operating points with one threshold if none is stored; None to measure nothing.

    Raises:
        UserError: there is no measurement, or none can be made.
    """
    times = _stored(store, record, label)
    if not times and timing is not None:
        _measure(store, record, label, option, timing)
        times = _stored(store, record, label)
    if not times:
        raise UserError(
            f"{option}: no time of {record.run_id} with {label} was measured with batches of one image; measure it with: "
            f"python -m benchmark deploy {record.run_id} --budget 5ms --policy '{label}' --results {store.root}"
        )
    return times


def _stored(store: Store, record: DoneRecord, label: str) -> dict[float, float]:
    times: dict[float, float] = {}
    for latency in read_latencies(store, []).get(record.run_id, []):
        timing = latency.at(1)
        if timing is not None and latency.point.startswith(f"{label}/"):
            times[latency.threshold] = max(timing.dynamic.mean, times.get(latency.threshold, -math.inf))
    return times


def _measure(store: Store, record: DoneRecord, label: str, option: str, timing: TimingSetup) -> None:
    """Time each threshold of the policy's operating points once."""
    single = (point for point in record.points if point.policy == label and len(point.settings) == 1)
    points = {point.settings[0].threshold: point.name for point in single}
    if not points:
        raise UserError(f"{option}: {record.run_id} has no operating point of {label} with one threshold to be timed")
    for name in points.values():
        timing.say(f"timing {name} ...")
        subject = Subject.of(
            store, record.run_id, name, timing.device, precision="fp32", images=IMAGES, threads=None,
            data_dir=timing.data_dir,
        )  # fmt: skip
        measure_run(subject, (1,), lambda line: None, warmup=WARMUP)
