"""Paired tests on the same samples, and correction for multiple tests."""

from __future__ import annotations

import numpy as np


def realised(prediction_right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Correctness of every sample at a point that mixes settings: one setting is drawn per sample, by weight.

    The draws depend only on the position of the sample, so that two methods on the same samples share their random numbers.

    Args:
        prediction_right: bools [S, N], one row per setting, samples in a fixed order.
        weight: of the settings, [S], summing to 1.
    """
    if len(weight) == 1:
        return prediction_right[0]
    draws = np.random.default_rng(0).random(prediction_right.shape[1])
    chosen = np.searchsorted(np.cumsum(weight)[:-1], draws, side="right")
    return prediction_right[chosen, np.arange(prediction_right.shape[1])]


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p-value that two methods are right equally often (McNemar, 1947; binomial on the discordant samples).

    Args:
        first: correctness, bools [N].
        second: on the same samples, [N].
    """
    from scipy.special import bdtr  # faster than scipy.stats.binomtest by orders of magnitude; reports make many tests

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    # The binomial distribution with p = 1/2 is symmetric: both tails have the same probability.
    return float(min(1.0, 2 * bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted by the step-down method of Holm (1979), which controls the family-wise error rate.

    The i-th smallest of m is multiplied by m - i + 1, then the running maximum is taken. Scipy has no such function, and
    statsmodels would be a large dependency for this one.

    Args:
        p: [m], in any order.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
