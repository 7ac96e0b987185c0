"""Intervals and detectable differences.

Intervals are either over test samples, for given models and thresholds (Wilson; Bonett and Price), or over training seeds
(Student's t).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
POWER = 0.8
ROUNDING = 1e-12
"""Values whose relative difference is at most this are equal."""


def bounded_mean(values: np.ndarray, lowest: float, highest: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval, by default of 95 %, of a mean over samples whose values have known bounds; its width is never zero.

    A Wald interval after one pseudo-sample is added at each bound. For differences of correctness in {-1, 0, 1} it is the
    adjusted Wald interval of Bonett and Price (Statistics in Medicine, 2012), which Fagerland, Lydersen and Laake (2014)
    recommend besides those of Newcombe and Tango, which require counts. A point that mixes two settings has fractions.

    Args:
        values: a quantity, or its differences between two methods on the same samples, [N].
        lowest: lower bound of the values.
        highest: upper bound of the values.
        level: probability with which the interval covers the true mean.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    sample = np.concatenate([values, [lowest, highest]])
    centre, half = float(sample.mean()), float(z * sample.std() / np.sqrt(len(sample)))
    mean = float(values.mean())
    return max(min(centre - half, mean), lowest), min(max(centre + half, mean), highest)


def paired_interval(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """`bounded_mean` of differences of correctness on the same samples, each in [-1, 1]."""
    return bounded_mean(differences, -1.0, 1.0, level)


def paired_interval_unbounded(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of differences without known bounds, such as those of `results.stats.iou.pseudo_values`.

    Like `paired_interval`, with the largest difference that was seen in place of 1. Both ends are NaN if all differences are 0,
    which says nothing about the variance.
    """
    largest = float(np.abs(differences).max())
    return bounded_mean(differences, -largest, largest, level) if largest else (float("nan"), float("nan"))


def detectable_difference(differences: np.ndarray, tests: int = 1) -> float:
    """The smallest true mean difference that a paired two-sided test at the 5 % level detects on these samples with power 80 %.

    Normal approximation: (z_0.975 + z_0.8) * sd / sqrt(N).

    Args:
        differences: differences between two methods on the same samples, [N].
        tests: number of tests that share the level (Bonferroni).
    """
    normal = NormalDist()
    factor = normal.inv_cdf(1 - (1 - LEVEL) / (2 * tests)) + normal.inv_cdf(POWER)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def detectable_over_seeds(differences: np.ndarray, tests: int = 1) -> float:
    """Like `detectable_difference`, for a paired t test over training seeds: (t_0.975 + t_0.8) * sd / sqrt(n), with n - 1
    degrees of freedom.
    """
    from scipy.stats import t  # takes a second to import

    freedom = len(differences) - 1
    factor = t.ppf(1 - (1 - LEVEL) / (2 * tests), freedom) + t.ppf(POWER, freedom)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def wilson(successes: float, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson, 1927); ``successes`` may be fractional.

    `scipy.stats.binomtest` is not used because it takes milliseconds, and each setting of a curve has an interval.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def accuracy_interval(correct: np.ndarray) -> tuple[float, float]:
    """`wilson` of the correctness of the samples, each in [0, 1], [N]."""
    return wilson(float(correct.sum()), len(correct))


def are_equal(values: Sequence[float] | np.ndarray) -> bool:
    """Whether all values are the same, apart from rounding."""
    return bool(np.ptp(values) <= ROUNDING * np.max(np.abs(values)))


def over_seeds(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """t interval, by default of 95 %, with n - 1 degrees of freedom, of the mean over training seeds.

    Equal values say nothing about the variance over seeds: both ends are then NaN.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError("an interval over seeds requires at least two seeds")
    if are_equal(values):
        return float("nan"), float("nan")
    from scipy.stats import t  # takes a second to import

    sample = np.asarray(values, dtype=np.float64)
    half = t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)
