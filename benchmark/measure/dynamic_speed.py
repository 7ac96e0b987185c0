"""How much of the counted speed-up is there in time: dynamic inference with imposed exit shares, and what eats the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark import registry
from benchmark.measure.cost import cost_table
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.latency import stopwatch, time_batches
from benchmark.training.heads import make_head
from methods.api import BackboneCard
from methods.model import ExitHeads, MultiExitModel
from methods.policies.confidence import Confidence
from methods.policies.policy import State, confidences
from results.record import CostTable
from results.store.latency import BatchTiming

# Samples of 10,000 that leave after blocks 4 ... 11 and at the end: LGViT's released ViT-B for CIFAR-100 at threshold 0.90, as
# measured by ionymikler/early_exit_vit at 1566268.
RELEASED_SHARES = (3234, 1481, 878, 991, 1539, 675, 317, 174, 711)
BLOCKS = tuple(range(4, 12))
CLASSES = 100


class Imposed(Confidence):
    """Computes and compares confidences as the confidence policy does, and lets samples go by a schedule.

    The schedule goes on from batch to batch and begins anew at its end.
    """

    def __init__(self, schedule: Tensor) -> None:
        """
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
        return (confidences(logits) > self.chosen()) & (state["exit"] <= exit_index)


def scheduled(shares: np.ndarray, samples: int, seed: int = 0) -> Tensor:
    """Exits of ``samples`` samples in random order, their counts as near to the shares as whole numbers can be."""
    exact = samples * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    counts = np.floor(exact).astype(int)
    short = samples - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    exits = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(seed).permutation(exits))


def geometric_shares(rate: float, exits: int) -> np.ndarray:
    """Of every exit's visitors a share ``rate`` leaves; the final one takes the others. [exits], summing to 1."""
    reached = (1 - rate) ** np.arange(exits)
    return np.append(rate * reached[:-1], reached[-1])


def random_model(method: str, card: BackboneCard) -> tuple[MultiExitModel, CostTable]:
    """A model with the heads of a method after blocks 4 to 11, random weights, and its price."""
    torch.manual_seed(0)
    choices = registry.configured("method", method, {}).heads(BLOCKS, card)
    heads = [make_head(choice, block, card, CLASSES) for block, choice in zip(BLOCKS, choices, strict=True)]
    model = MultiExitModel(card.load()(card.architecture, CLASSES), ExitHeads(BLOCKS, heads)).eval()
    return model, cost_table(model, card)


@dataclass(frozen=True)
class Part:
    """Where the time of dynamic inference goes.

    Attributes:
        name: stem and blocks, heads, final classifier, or routing (policy, compaction, bookkeeping).
        milliseconds: a batch.
        excess: milliseconds beyond what its MACs take at the rate of the backbone without exits.
    """

    name: str
    milliseconds: float
    excess: float


def measure_imposed(
    model: MultiExitModel,
    costs: CostTable,
    shares: np.ndarray,
    card: BackboneCard,
    *,
    batch_size: int,
    batches: int,
    warmup: int,
    device: torch.device,
) -> tuple[BatchTiming, list[Part]]:
    """Time dynamic inference with these exit shares, then the same batches once more with a clock in every part."""
    samples = batch_size * batches
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, card.channels, card.image_size, card.image_size, generator=generator).to(device)
    policy = Imposed(scheduled(shares, samples))
    timing = time_batches(model.to(device), policy, images, costs, batch_size, warmup)

    clock = stopwatch(device)
    spent: dict[str, float] = {}
    with timed_parts(model, clock, spent):
        begun = clock()
        for batch in images.split(batch_size):
            run_dynamic(model, policy, batch)
        total = clock() - begun
    spent["routing"] = total - sum(spent.values())

    mean = np.bincount(policy.schedule.numpy(), minlength=len(costs.heads)) / samples
    reached = np.cumsum(mean[::-1])[::-1]
    heads = float(reached[:-1] @ np.array(costs.heads[:-1]))
    final = float(reached[-1] * costs.heads[-1])
    everything = float(mean @ np.array(costs.cumulative, dtype=np.float64))
    macs = {"stem and blocks": everything - heads - final, "heads": heads, "final classifier": final, "routing": 0.0}
    rate = timing.backbone.mean / costs.baseline  # milliseconds a batch for one MAC an image
    parts = [
        Part(name, 1e3 * spent.get(name, 0.0) / batches, 1e3 * spent.get(name, 0.0) / batches - rate * count)
        for name, count in macs.items()
    ]
    return timing, parts


@contextmanager
def timed_parts(model: MultiExitModel, clock: Callable[[], float], spent: dict[str, float]) -> Iterator[None]:
    """While it lasts, the seconds in stem and blocks, heads and final classifier are added to ``spent``."""
    places: list[tuple[Any, str, str]] = [
        (model.backbone, "embed", "stem and blocks"),
        (model.backbone, "block", "stem and blocks"),
        (model.backbone, "classify", "final classifier"),
        *((head, "forward", "heads") for head in model.exit_heads.heads),
    ]
    for owner, method, name in places:
        setattr(owner, method, _timed(getattr(owner, method), name, clock, spent))
    try:
        yield
    finally:
        for owner, method, _ in places:
            delattr(owner, method)  # the class's own comes to light again


def _timed(
    work: Callable[..., Any], name: str, clock: Callable[[], float], spent: dict[str, float]
) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        begun = clock()
        found = work(*arguments)
        spent[name] = spent.get(name, 0.0) + clock() - begun
        return found

    return run
