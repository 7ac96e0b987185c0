"""Rules that turn intervals into verdicts. Pure functions; `results.judge.claims` applies them to runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from results.metric import ACCURACY, Metric
from results.stats.statistics import are_equal, over_seeds

Verdict = Literal["reproduced", "close", "inconclusive", "not reproduced", "not run"]
SEEDS = 5
"""Training seeds that a headline needs at least, the backbone retrained for each."""
CLOSE_POINTS = 0.005


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; the ends are NaN where there is none.

    Attributes:
        kind: what the interval is over: training seeds, or test samples given the trained models.
        p: two-sided p-value that the mean is zero.
    """

    value: float
    low: float
    high: float
    kind: Literal["seeds", "test samples"]
    p: float = float("nan")

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


def paired_difference(differences: Sequence[np.ndarray], metric: Metric = ACCURACY) -> Estimate:
    """The mean difference of two methods on the same samples; over seeds if there are enough of them, else over test samples.

    Args:
        differences: of every test sample, [N] per training seed.
        metric: of which these are differences.
    """
    samples = over_samples(differences, metric)
    means = [float(difference.mean()) for difference in differences]
    if len(means) < SEEDS or are_equal(means):  # equal means say nothing about the variance over seeds
        return samples
    from scipy.stats import ttest_1samp

    # A lead of an image in every seed is no lead: the difference must be significant over seeds and over test samples.
    p = max(float(ttest_1samp(means, 0.0).pvalue), samples.p)
    return Estimate(samples.value, *over_seeds(means), "seeds", p)


def over_samples(differences: Sequence[np.ndarray], metric: Metric = ACCURACY) -> Estimate:
    """`paired_difference` over test samples, given the trained models."""
    pooled = np.mean(differences, axis=0)
    low, high = metric.paired_interval(pooled)
    return Estimate(float(pooled.mean()), low, high, "test samples", metric.sign_flip(pooled))


def distinct(results: Sequence[np.ndarray]) -> int:
    """Number of different results. Two trainings never have the same results on hundreds of images; copies of one do.

    Results that are zero everywhere say nothing about copies, and count one each.
    """
    return len({result.tobytes() for result in results if result.any()}) + sum(not result.any() for result in results)


def over_runs(values: Sequence[float], single: tuple[float, float]) -> Estimate:
    """The mean over seeds with its t interval, NaN for equal values; for a single seed, its interval over test samples.

    Args:
        values: one per seed.
        single: interval (low, high) of the first seed over test samples.
    """
    if len(values) == 1:
        return Estimate(values[0], *single, "test samples")
    return Estimate(float(np.mean(values)), *over_seeds(values), "seeds")


def judge_drop(drops: Sequence[Estimate], allowed: float) -> Verdict:
    """Judges "no larger drop", at a fixed speed-up.

    Args:
        drops: the measured accuracy drop, in [0, 1], over seeds and over test samples: all seeds have the same test samples, so
            the verdict must hold by both intervals.
        allowed: the largest drop of the claim.
    """
    low, high = min(drop.low for drop in drops), max(drop.high for drop in drops)
    if not np.isfinite([end for drop in drops for end in (drop.value, drop.low, drop.high)]).all():
        return "inconclusive"
    if high <= allowed:
        return "reproduced"
    if high <= allowed + CLOSE_POINTS:
        return "close"
    return "not reproduced" if low > allowed else "inconclusive"


def judge_number(estimate: Estimate, published: float) -> Verdict:
    """Judges a published accuracy on the same data and model; both in [0, 1].

    A wide interval makes no number close: one that only the interval reaches is neither near nor excluded.
    """
    if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        return "inconclusive"
    if is_close(estimate.value, published, CLOSE_POINTS):
        return "close"
    return "inconclusive" if is_close(estimate.value, published, estimate.half) else "not reproduced"


def is_close(value: float, published: float, tolerance: float) -> bool:
    return abs(value - published) <= tolerance * (1 + 1e-9)


def for_a_headline(verdict: Verdict, seeds: int) -> Verdict:
    """The verdict, or "inconclusive" with fewer seeds than a headline needs."""
    return verdict if seeds >= SEEDS or verdict == "not run" else "inconclusive"
