"""Wall time of dynamic inference and of the backbone without exits, on the same images in one process."""

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
    """Time dynamic inference and the backbone without exits on every batch.

    The order of the two alternates from batch to batch, so that caches and changes of the machine's speed affect both equally.
    An incomplete last batch is omitted.

    Args:
        model: the model in evaluation mode, on the device and in the precision of the images.
        policy: the policy with its threshold set.
        images: (N, channels, H, W), at least one batch.
        costs: cost table of the model.
        batch_size: images per batch.
        warmup: number of untimed batches before the timed ones.
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
            for model_kind in order:
                start = clock()
                if model_kind == "backbone":
                    model.backbone(batch)
                else:
                    routed = run_dynamic(model, policy, batch)
                seconds[model_kind].append(clock() - start)
            exits.append(routed.exits)
    mean_macs = torch.tensor(costs.cumulative, dtype=torch.float64)[torch.cat(exits).cpu()].mean()
    return BatchTiming(
        batch_size=batch_size,
        images=batch_size * len(batches),
        backbone=Quantiles.of(seconds["backbone"]),
        dynamic=Quantiles.of(seconds["dynamic"]),
        mac_speedup=costs.baseline / float(mean_macs),
    )


def stopwatch(device: torch.device) -> Callable[[], float]:
    """A clock in seconds that waits for the device to finish its work before each reading."""
    if device.type != "cuda":
        return time.perf_counter

    def read() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def usable(batch_sizes: Sequence[int], images: int) -> list[int]:
    """The batch sizes that are not larger than the number of images."""
    return [size for size in batch_sizes if size <= images]
