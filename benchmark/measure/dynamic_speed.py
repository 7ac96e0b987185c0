"""Timing of dynamic inference at fixed exit shares, in total and by part, for comparison with the speed-up in MACs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark import registry
from benchmark.measure.cost import cost_table
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.latency import stopwatch, time_batches
from benchmark.training.heads import make_head
from methods.api import CLASSIFICATION, BackboneCard
from methods.model import ExitHeads, MultiExitModel
from methods.policies.confidence import Confidence
from methods.policies.policy import State, confidences
from methods.tasks import get_task
from results.record import CostTable
from results.store.latency import BatchTiming

# Of 10,000 samples, the numbers that exit after blocks 4 ... 11 and at the end: LGViT's released ViT-B for CIFAR-100
# at threshold 0.90, as measured by ionymikler/early_exit_vit at 1566268.
RELEASED_SHARES = (3234, 1481, 878, 991, 1539, 675, 317, 174, 711)
BLOCKS = tuple(range(4, 12))
CLASSES = 100
EXIT_RATES = (0.1, 0.3, 0.5, 0.8)


@dataclass(frozen=True)
class TimingSetup:
    """Settings of a timing.

    Attributes:
        card: card of the backbone.
        batch_size: images per batch.
        batches: number of timed batches.
        warmup: number of untimed batches before them.
        device: device of the model.
        threads: CPU threads of torch; None for torch's default.
    """

    card: BackboneCard
    batch_size: int
    batches: int
    warmup: int
    device: torch.device
    threads: int | None = None


class ScheduledExits(Confidence):
    """A policy that has the cost of the confidence policy, but takes each sample's exit from a schedule.

    The schedule continues from batch to batch and restarts at its end.
    """

    def __init__(self, schedule: Tensor) -> None:
        """Create the policy.

        Args:
            schedule: exit of each sample, int64 [N].
        """
        super().__init__(threshold=0.0)
        self.schedule, self.next = schedule, 0

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        positions = torch.arange(self.next, self.next + batch) % len(self.schedule)
        self.next = (self.next + batch) % len(self.schedule)
        return {"exit": self.schedule[positions].to(device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return (confidences(logits) > self.required_setting()) & (state["exit"] <= exit_index)


def scheduled(shares: np.ndarray, samples: int, seed: int = 0) -> Tensor:
    """Exits of ``samples`` samples in random order, int64 [samples], whose counts are the rounded shares."""
    exact = samples * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    counts = np.floor(exact).astype(int)
    remaining = samples - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:remaining]] += 1
    exits = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(seed).permutation(exits))


def geometric_shares(rate: float, exits: int) -> np.ndarray:
    """Share of samples per exit if a share ``rate`` of the samples that reach an early exit exits there.

    Returns:
        [exits], summing to 1; the remaining samples exit at the final exit.
    """
    reached = (1 - rate) ** np.arange(exits)
    return np.append(rate * reached[:-1], reached[-1])


def random_model(method: str, card: BackboneCard) -> tuple[MultiExitModel, CostTable]:
    """A model with random weights and a method's heads after blocks 4 to 11, and its cost table."""
    torch.manual_seed(0)
    choices = registry.configured("method", method, {}).heads(BLOCKS, card)
    heads = [
        make_head(choice, block, card, CLASSES, get_task(CLASSIFICATION))
        for block, choice in zip(BLOCKS, choices, strict=True)
    ]
    model = MultiExitModel(card.load()(card.architecture, CLASSES), ExitHeads(BLOCKS, heads)).eval()
    return model, cost_table(model, card)


@dataclass(frozen=True)
class Part:
    """Time of one part of dynamic inference.

    Attributes:
        name: stem and blocks, heads, final classifier, or routing (policy, compaction, bookkeeping).
        milliseconds: time per batch.
        excess: difference to the time of its MACs at the speed of the backbone without exits, in milliseconds.
    """

    name: str
    milliseconds: float
    excess: float


def measure_released_shares(method: str, setup: TimingSetup) -> tuple[BatchTiming, list[Part]]:
    """`measure_shares` of a method's heads at `RELEASED_SHARES`."""
    model, costs = random_model(method, setup.card)
    return measure_shares(model, costs, np.array(RELEASED_SHARES), setup)


def measure_exit_rates(method: str, setup: TimingSetup) -> list[BatchTiming]:
    """Timings of a method's heads at each rate of `EXIT_RATES`, over at least 32 images."""
    model, costs = random_model(method, setup.card)
    setup = replace(setup, batches=max(setup.batches, 32 // setup.batch_size))
    shares = (geometric_shares(rate, len(BLOCKS) + 1) for rate in EXIT_RATES)
    return [measure_shares(model, costs, of_exits, setup)[0] for of_exits in shares]


def measure_shares(
    model: MultiExitModel, costs: CostTable, shares: np.ndarray, setup: TimingSetup
) -> tuple[BatchTiming, list[Part]]:
    """Time dynamic inference at fixed exit shares, in total and then, on the same batches, by part.

    Args:
        model: the model.
        costs: its cost table.
        shares: share of samples that exit at each exit, [K], not necessarily normalised.
        setup: batches, device and threads.
    """
    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    card, samples = setup.card, setup.batch_size * setup.batches
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, card.channels, card.image_size, card.image_size, generator=generator)
    images = images.to(setup.device)
    policy = ScheduledExits(scheduled(shares, samples))
    model.to(setup.device)
    timing, _ = time_batches(model, model.backbone, policy, images, costs, setup.batch_size, setup.warmup)

    clock = stopwatch(setup.device)
    seconds: dict[str, float] = {}
    with timed_parts(model, clock, seconds):
        start = clock()
        for batch in images.split(setup.batch_size):
            run_dynamic(model, policy, batch)
        total = clock() - start
    seconds["routing"] = total - sum(seconds.values())

    exit_shares = np.bincount(policy.schedule.numpy(), minlength=len(costs.heads)) / samples
    reaching = np.cumsum(exit_shares[::-1])[::-1]
    heads = float(reaching[:-1] @ np.array(costs.heads[:-1]))
    final = float(reaching[-1] * costs.heads[-1])
    mean_macs = float(exit_shares @ np.array(costs.cumulative, dtype=np.float64))
    macs = {"stem and blocks": mean_macs - heads - final, "heads": heads, "final classifier": final, "routing": 0.0}
    rate = timing.backbone.mean / costs.baseline  # milliseconds per batch for one MAC per image
    parts = []
    for name, count in macs.items():
        milliseconds = 1e3 * seconds.get(name, 0.0) / setup.batches
        parts.append(Part(name, milliseconds, milliseconds - rate * count))
    return timing, parts


@contextmanager
def timed_parts(model: MultiExitModel, clock: Callable[[], float], seconds: dict[str, float]) -> Iterator[None]:
    """While the context is open, the times of stem and blocks, heads and final classifier are added to ``seconds``."""
    timed: list[tuple[Any, str, str]] = [
        (model.backbone, "embed", "stem and blocks"),
        (model.backbone, "block", "stem and blocks"),
        (model.backbone, "classify", "final classifier"),
        *((head, "forward", "heads") for head in model.exit_heads.heads),
    ]
    for owner, method, name in timed:
        setattr(owner, method, _timed(getattr(owner, method), name, clock, seconds))
    try:
        yield
    finally:
        for owner, method, _ in timed:
            delattr(owner, method)  # removes the wrapper and restores the method of the class


def _timed(
    function: Callable[..., Any], name: str, clock: Callable[[], float], seconds: dict[str, float]
) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        start = clock()
        result = function(*arguments)
        seconds[name] = seconds.get(name, 0.0) + clock() - start
        return result

    return run
