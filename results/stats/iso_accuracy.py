"""Speed-up at equal accuracy: the ratio of two methods' costs to reach an accuracy, with an interval over test samples.

A method is represented by the corners of its hull on val and the setting with the fewest early exits; mixing neighbouring
settings reaches every point between them. In a bootstrap replicate, accuracies, costs and the accuracy to reach come from the
same resampled images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from results.stats.statistics import LEVEL

REPLICATES = 1_000
CHUNK = 100  # replicates computed at a time, which limits the memory


@dataclass(frozen=True)
class Corners:
    """A method on N test samples, in the same order for all methods.

    Attributes:
        values: of each sample, [H, N], one row per corner: whether the prediction is correct, or any number whose mean over
            samples is the accuracy.
        cost: cost of each sample at each corner, [H, N].
    """

    values: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True)
class IsoAccuracy:
    """Cost of the second method divided by that of the first, at the lowest costs that reach the same accuracy.

    Attributes:
        speedup: ratio on the original samples; NaN if either method does not reach the accuracy.
        low: lower end of the 95 % interval; a replicate in which either method does not reach the accuracy counts as 0. NaN if
            the interval has no width.
        high: upper end; such a replicate counts as infinite. NaN if the interval has no width.
        unreached: share of such replicates.
    """

    speedup: float
    low: float
    high: float
    unreached: float


def costs_to_reach(
    methods: Sequence[Corners], static: Sequence[np.ndarray], drop: float, *, seed: int = 0
) -> list[np.ndarray]:
    """The cost at which each method reaches the accuracy of the backbone without exits minus ``drop``, [1 + REPLICATES] each.

    The first value is for the original samples, the others for bootstrap replicates. The replicates depend only on the number
    of samples and the seed. NaN if the accuracy is not reached.

    Args:
        methods: methods on the same number of samples; passing many at once is faster.
        static: for each method, the values of the backbone without exits, [N].
        drop: accuracy drop in [0, 1].
        seed: seed of the resampling.
    """
    samples = len(static[0])
    values = np.concatenate([np.vstack([m.values, s]) for m, s in zip(methods, static, strict=True)]).T
    are_exact = bool(np.isin(values, (0, 1)).all())  # sums of correctness are exact in any precision
    values = values.astype(np.float32 if are_exact else np.float64)
    cost = np.concatenate([method.cost for method in methods]).T.astype(np.float64)
    chunks = []
    for drawn in _resampled(samples, seed, REPLICATES):
        # Rounding removes the effect of the order of summation, which depends on the CPU and its threads.
        accuracy = (drawn.astype(values.dtype) @ values).astype(np.float64) / samples
        accuracy = accuracy if are_exact else np.round(accuracy, 12)
        mean_cost = np.round(drawn.astype(np.float64) @ cost / samples, 12)
        row, start = [], 0
        for number, method in enumerate(methods):
            end = start + len(method.values)
            corners, without_exits = accuracy[:, start + number : end + number], accuracy[:, end + number]
            row.append(_costs_to_reach(mean_cost[:, start:end], corners, without_exits - drop))
            start = end
        chunks.append(row)
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _costs_to_reach(cost: np.ndarray, accuracy: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest cost with at least the accuracy ``target``, interpolated linearly between corners; NaN if it is not reached.

    For R replicates at once: [R, H], [R, H] and [R] to [R]. The corners are in any order.
    """
    order = np.argsort(cost, axis=1, kind="stable")
    cost, accuracy = np.take_along_axis(cost, order, axis=1), np.take_along_axis(accuracy, order, axis=1)
    reached = accuracy >= target[:, None] - 1e-12
    row, after = np.arange(len(cost)), reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    rise = np.where(after > 0, accuracy[row, after] - accuracy[row, before], 1.0)
    share = np.where(after > 0, (target - accuracy[row, before]) / rise, 0.0)
    costs = cost[row, before] + share * (cost[row, after] - cost[row, before])
    return np.where(reached.any(axis=1), costs, np.nan)


def iso_accuracy(first: np.ndarray, second: np.ndarray) -> IsoAccuracy:
    """The speed-up of the first method over the second at equal accuracy.

    Args:
        first: `costs_to_reach` of the first method.
        second: `costs_to_reach` of the second method, for the same samples, drop and seed.
    """
    speedup, *replicates = second / first
    is_unreached = np.isnan(replicates)
    low = np.quantile(np.where(is_unreached, 0.0, replicates), (1 - LEVEL) / 2, method="lower")
    high = np.quantile(np.where(is_unreached, np.inf, replicates), (1 + LEVEL) / 2, method="higher")
    if low == high:
        low = high = np.nan
    return IsoAccuracy(float(speedup), float(low), float(high), float(is_unreached.mean()))


@lru_cache(maxsize=1)
def _resampled(samples: int, seed: int, replicates: int) -> tuple[np.ndarray, ...]:
    """Bootstrap counts of each sample, [R, N] per chunk; the first chunk is the original sample."""
    rng = np.random.default_rng(seed)
    parts = [np.ones((1, samples), dtype=np.uint8)]
    for _ in range(replicates // CHUNK):
        drawn = [np.bincount(rng.integers(0, samples, samples), minlength=samples) for _ in range(CHUNK)]
        parts.append(np.stack(drawn).astype(np.uint8))
    return tuple(parts)
