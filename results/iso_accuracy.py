"""Speed-up at equal accuracy: how much cheaper one method reaches an accuracy than another, with an interval over test samples.

A method is the set of corners of its val-built hull, and the setting at which fewest leave; mixing neighbours reaches what
lies between them. In every bootstrap
replicate accuracies, costs and the accuracy to reach are those of the same resampled images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from results.statistics import LEVEL

REPLICATES = 1_000
CHUNK = 100
"""Replicates at a time; bounds the memory to CHUNK x N weights."""


@dataclass(frozen=True)
class Corners:
    """A method on N test samples, in an order that all methods share.

    Attributes:
        right: bools [H, N], a row a corner.
        cost: of each sample at each corner, [H, N].
    """

    right: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True)
class IsoAccuracy:
    """Cost of the second method over that of the first, where both reach the same accuracy.

    Attributes:
        speedup: on the samples as they are; NaN if either method does not reach the accuracy.
        low: end of the 95 % interval; an unreached replicate counts as 0.
        high: the other end; an unreached replicate counts as infinite.
        unreached: share of replicates in which either method does not reach the accuracy.
    """

    speedup: float
    low: float
    high: float
    unreached: float


def cost_to_reach(cost: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    """The smallest cost at which an accuracy is reached, linear between corners; NaN if it never is.

    Args:
        cost: of the corners, [H], in any order.
        accuracy: [H].
        target: accuracy.
    """
    order = np.argsort(cost, kind="stable")
    cost, accuracy = cost[order], accuracy[order]
    reached = np.flatnonzero(accuracy >= target - 1e-12)
    if not len(reached):
        return float("nan")
    after = int(reached[0])
    if after == 0:
        return float(cost[0])
    share = (target - accuracy[after - 1]) / (accuracy[after] - accuracy[after - 1])
    return float(cost[after - 1] + share * (cost[after] - cost[after - 1]))


def costs_to_reach(method: Corners, static_right: np.ndarray, drop: float, *, seed: int = 0) -> np.ndarray:
    """The cost at which a method reaches the accuracy of the backbone without exits less ``drop``, [1 + REPLICATES].

    The first is that of the samples as they are, the others those of bootstrap replicates, which are the same for every method
    on the same number of samples and seed. NaN where it is not reached.

    Args:
        method: its corners; a single one of cost 1 is the backbone without exits.
        static_right: of the backbone without exits, bools [N].
        drop: in [0, 1].
        seed: of the resampling.
    """
    samples = len(static_right)
    costs: list[float] = []
    for weights in _resampled(samples, seed):
        targets = weights @ static_right / samples - drop
        accuracy, cost = weights @ method.right.T / samples, weights @ method.cost.T / samples
        costs += [cost_to_reach(c, a, t) for c, a, t in zip(cost, accuracy, targets, strict=True)]
    return np.array(costs)


def iso_accuracy(first: np.ndarray, second: np.ndarray) -> IsoAccuracy:
    """
    Args:
        first: `costs_to_reach` of the method whose speed-up is asked for.
        second: of what it is compared with, for the same samples, drop and seed.
    """
    speedup, *replicates = second / first
    missing = np.isnan(replicates)
    low = np.quantile(np.where(missing, 0.0, replicates), (1 - LEVEL) / 2, method="lower")
    high = np.quantile(np.where(missing, np.inf, replicates), (1 + LEVEL) / 2, method="higher")
    return IsoAccuracy(float(speedup), float(low), float(high), float(missing.mean()))


def _resampled(samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each sample is drawn, [R, N] at a time; first, once each."""
    yield np.ones((1, samples))
    rng = np.random.default_rng(seed)
    for _ in range(REPLICATES // CHUNK):
        yield np.stack([np.bincount(rng.integers(0, samples, samples), minlength=samples) for _ in range(CHUNK)])
