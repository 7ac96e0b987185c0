"""Tests of "no difference" on the same samples, and what several of them together allow to say."""

from __future__ import annotations

import numpy as np


def realised(prediction_right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Right or wrong for every sample at a point that mixes settings: one setting drawn for each sample by its weight.

    The draws depend on the position of the sample alone, so that two methods on the same samples draw alike.

    Args:
        prediction_right: bools [S, N], a row a setting, samples in a fixed order.
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
        first: right or wrong, bools [N].
        second: on the same samples, [N].
    """
    from scipy.special import bdtr

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    # Which of the two is right is a toss of a fair coin: both tails are alike.
    return float(min(1.0, 2 * bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted so that the chance of any false rejection stays at the level (Holm, 1979).

    The i-th smallest of m is multiplied by m - i + 1; no adjusted value is below one that was smaller before.

    Args:
        p: [m], in any order.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
