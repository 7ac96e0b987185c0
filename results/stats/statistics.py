"""Intervals and detectable differences.

Two kinds of interval are never mixed: over test samples, given the trained models (bootstrap), and over training seeds
(Student's t).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
POWER = 0.8


def bootstrap_mean(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over samples, in the limit of infinitely many resamples.

    For a paired comparison ``values`` are differences of two methods on the same samples. The distribution of the resampled
    mean is not simulated but computed by the saddlepoint formula (Davison and Hinkley, Biometrika, 1988; tails after Lugannani
    and Rice): the limit of 10,000 resamples, without their noise and in a fraction of their time.

    Args:
        values: [N].
    """
    distinct, counts = np.unique(values, return_counts=True)
    share, mean, size = counts / len(values), float(values.mean()), len(values)
    spread = float(np.sqrt(share @ (distinct - mean) ** 2))
    if spread <= 1e-12 * max(abs(mean), 1.0):
        return mean, mean
    centred = (distinct - mean) / spread
    ends = np.array([NormalDist().inv_cdf((1 - LEVEL) / 2), NormalDist().inv_cdf((1 + LEVEL) / 2)])
    tilt = (ends[:, None] + _OFFSETS).ravel() / np.sqrt(size)
    exponent = tilt[:, None] * centred
    largest = exponent.max(axis=1)
    weights = share * np.exp(exponent - largest[:, None])
    total = weights.sum(axis=1)
    cumulant, tilted = largest + np.log(total), weights @ centred / total
    variance = weights @ centred**2 / total - tilted**2
    root = np.sign(tilt) * np.sqrt(np.maximum(2 * size * (tilt * tilted - cumulant), 1e-300))
    saddle = tilt * np.sqrt(size * np.maximum(variance, 1e-300))
    # The standard normal quantile at the same probability as `tilted` in the distribution of the resampled mean.
    normal = root + np.log(saddle / root) / root
    half = len(_OFFSETS)
    standardised = [
        np.interp(ends[i], normal[part], tilted[part]) for i, part in enumerate((slice(half), slice(half, None)))
    ]
    low, high = np.clip(mean + spread * np.array(standardised), distinct[0], distinct[-1])
    return float(low), float(high)


_OFFSETS = np.linspace(-1.2, 1.2, 25)
"""Grid on which the ends of an interval are searched, in standard errors around the ends of the normal interval."""


def detectable_difference(differences: np.ndarray) -> float:
    """The smallest true mean difference that a paired two-sided test at the 5 % level detects on these samples with power 80 %.

    Normal approximation: (z_0.975 + z_0.8) * sd / sqrt(N).

    Args:
        differences: of two methods on the same samples, [N].
    """
    normal = NormalDist()
    factor = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson, 1927).

    Every setting of a curve needs one: `scipy.stats.binomtest` takes milliseconds each.
    """
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
