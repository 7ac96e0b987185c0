"""Wall time of dynamic inference and of the backbone without exits, on the same images in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmark.measure.audit import TimedAnswers
from benchmark.measure.dynamic import run_dynamic
from benchmark.progress import duration
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy
from results.record import CostTable
from results.store.latency import BatchTiming, Quantiles

PROGRESS_SECONDS = 10.0
"""Time between two messages of progress."""
REPETITIONS = 100
"""Most batches of a repeated image."""


def time_batches(
    model: MultiExitModel,
    backbone: nn.Module,
    policy: ExitPolicy,
    images: Tensor,
    costs: CostTable,
    batch_size: int,
    warmup: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[BatchTiming, TimedAnswers]:
    """Time dynamic inference and the backbone without exits on every batch.

    The order of the two alternates from batch to batch, so that caches and changes of the machine's speed affect both equally.
    An incomplete last batch is omitted.

    Args:
        model: the model in evaluation mode, on the device and in the precision of the images.
        backbone: the backbone without exits, likewise.
        policy: the policy with its threshold set.
        images: (N, channels, H, W), at least one batch.
        costs: cost table of the model.
        batch_size: images per batch.
        warmup: number of untimed batches before the timed ones.
        say: prints a progress message, between two batches.

    Returns:
        the times, and the answers of the timed dynamic inference; their samples are positions in ``images``.
    """
    batches = [batch for batch in images.split(batch_size) if len(batch) == batch_size]
    clock = stopwatch(images.device)
    seconds: dict[str, list[float]] = {"backbone": [], "dynamic": []}
    answers: list[TimedAnswers] = []

    with torch.no_grad():
        for i in range(warmup):
            answered(model, backbone(batches[i % len(batches)]))
            run_dynamic(model, policy, batches[i % len(batches)])
        shown = began = time.monotonic()
        for i, batch in enumerate(batches):
            if (now := time.monotonic()) - shown > PROGRESS_SECONDS:
                shown = now
                left = (now - began) / i * (len(batches) - i)
                say(f"  {i} of {len(batches)} batches, about {duration(left)} left")
            order = ("backbone", "dynamic") if i % 2 == 0 else ("dynamic", "backbone")
            for model_kind in order:
                start = clock()
                if model_kind == "backbone":
                    answered(model, backbone(batch))
                else:
                    routed = run_dynamic(model, policy, batch)
                seconds[model_kind].append(clock() - start)
            positions = torch.arange(i * batch_size, (i + 1) * batch_size)
            beside = None if routed.answers is None else routed.answers.cpu()
            answers.append(TimedAnswers(positions, routed.exits.cpu(), routed.predictions.cpu(), beside))
    timed = TimedAnswers.joined(answers)
    mean_macs = torch.tensor(costs.cumulative, dtype=torch.float64)[timed.exits].mean()
    timing = BatchTiming(
        batch_size=batch_size,
        images=batch_size * len(batches),
        backbone=Quantiles.of(seconds["backbone"]),
        dynamic=Quantiles.of(seconds["dynamic"]),
        mac_speedup=costs.baseline / float(mean_macs),
    )
    return timing, timed


def answered(model: MultiExitModel, output: Tensor) -> None:
    """What dynamic inference does with an output where a sample leaves: boxes are read from it in a time that counts."""
    if model.task.answers_beside:
        model.task.answers(output)


@torch.no_grad()
def time_repeated(
    model: MultiExitModel, policy: ExitPolicy, image: Tensor, batch_size: int, batches: int, warmup: int
) -> Quantiles:
    """Time dynamic inference on batches that consist of one image, (1, channels, H, W), repeated."""
    batch = image.repeat(batch_size, 1, 1, 1)
    clock = stopwatch(image.device)
    seconds = []
    for i in range(-min(warmup, REPETITIONS), min(batches, REPETITIONS)):
        start = clock()
        run_dynamic(model, policy, batch)
        if i >= 0:
            seconds.append(clock() - start)
    return Quantiles.of(seconds)


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
