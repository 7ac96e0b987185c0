"""Intervals and detectable differences. Two kinds of interval exist and are never mixed: over test samples, given the
trained models (bootstrap), and over training seeds (Student's t)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
POWER = 0.8
REPLICATES = 10_000


def bootstrap_mean(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over samples.

    For a paired comparison ``values`` are differences of two methods on the same samples. Values repeat (correct or not),
    so resampling N values is one multinomial draw over the distinct ones: the same distribution, a hundred times faster.

    Args:
        values: [N].
        seed: of the resampling.
    """
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=REPLICATES)
    means = draws @ distinct / len(values)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def detectable_difference(differences: np.ndarray) -> float:
    """The smallest true mean difference that a paired 95 % two-sided test on these samples finds with power 80 %.

    Normal approximation: (z_0.975 + z_0.8) * sd / sqrt(N).

    Args:
        differences: of two methods on the same samples, [N].
    """
    normal = NormalDist()
    factor = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float(centre - half), float(centre + half)


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """95 % t interval (n - 1 degrees of freedom) of the mean over training seeds.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    from scipy.stats import t  # takes a second to import

    sample = np.asarray(values, dtype=np.float64)
    half = t.ppf((1 + LEVEL) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)
