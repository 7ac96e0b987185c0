"""Wall time of dynamic inference beside the backbone without exits: the same images, one process, interleaved, warmed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmark.measure.dynamic import run_dynamic
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy
from results.record import CostTable
from results.store.latency import BatchTiming, Quantiles


def time_batches(
    model: MultiExitModel,
    policy: ExitPolicy,
    images: Tensor,
    costs: CostTable,
    batch_size: int,
    warmup: int,
) -> BatchTiming:
    """Time both on every batch in turn.

    Who goes first alternates from batch to batch, so that a drift of the machine or a warm cache favours neither. The last
    images that fill no batch are left out.

    Args:
        model: in evaluation mode, on the device and in the precision of the images.
        policy: with a setting.
        images: (N, channels, H, W), at least one batch.
        costs: of the model.
        batch_size: B.
        warmup: batches before the clock starts, taken from the front again.
    """
    batches = [batch for batch in images.split(batch_size) if len(batch) == batch_size]
    clock = stopwatch(images.device)
    seconds: dict[str, list[float]] = {"backbone": [], "dynamic": []}
    exits = []
    with torch.no_grad():
        for i in range(warmup):
            model.backbone(batches[i % len(batches)])
            run_dynamic(model, policy, batches[i % len(batches)])
        for i, batch in enumerate(batches):
            order = ("backbone", "dynamic") if i % 2 == 0 else ("dynamic", "backbone")
            for which in order:
                begun = clock()
                if which == "backbone":
                    model.backbone(batch)
                else:
                    routed = run_dynamic(model, policy, batch)
                seconds[which].append(clock() - begun)
            exits.append(routed.exits)
    paid = torch.tensor(costs.cumulative, dtype=torch.float64)[torch.cat(exits).cpu()].mean()
    return BatchTiming(
        batch_size=batch_size,
        images=batch_size * len(batches),
        backbone=Quantiles.of(seconds["backbone"]),
        dynamic=Quantiles.of(seconds["dynamic"]),
        mac_speedup=costs.baseline / float(paid),
    )


def stopwatch(device: torch.device) -> Callable[[], float]:
    """Seconds since some moment, once the device has done all that it was given."""
    if device.type != "cuda":
        return time.perf_counter

    def read() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def usable(batch_sizes: Sequence[int], images: int) -> list[int]:
    """The batch sizes that these images fill at least once."""
    return [size for size in batch_sizes if size <= images]
