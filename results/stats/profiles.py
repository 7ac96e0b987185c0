"""Summaries of several methods over several settings: performance profiles and improvability."""

from __future__ import annotations

import numpy as np

WORST = 2.0
"""The largest ratio of costs that a profile shows."""


def cost_ratios(costs: np.ndarray) -> np.ndarray:
    """The cost of each method over that of the cheapest one in the same setting, [M, S].

    Dolan and Moré, Mathematical Programming, 2002.

    Args:
        costs: of reaching the target of each setting, [M, S]; infinite where a method does not reach it. Settings whose target
            no method reaches are left out.
    """
    reached = np.isfinite(costs).any(axis=0)
    return costs[:, reached] / costs[:, reached].min(axis=0)


def profile(ratios: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The share of settings in which each method costs at most a factor times the cheapest one, [M, F].

    Args:
        ratios: of `cost_ratios`, [M, S].
        factors: [F].
    """
    return (ratios[:, :, None] <= factors * (1 + 1e-12)).mean(axis=1)


def profile_area(ratios: np.ndarray) -> np.ndarray:
    """The area under each profile between the factors 1 and `WORST`, divided by its largest possible value, [M]."""
    return ((WORST - np.clip(ratios, 1.0, WORST)) / (WORST - 1.0)).mean(axis=1)


def improvability(errors: np.ndarray) -> np.ndarray:
    """By how much the error of each method could be lowered by the best one of the setting, mean over settings, in [0, 1], [M].

    (error - lowest error) / error; 0 for a method that is the best everywhere (Erickson et al., TabArena, 2025).

    Args:
        errors: at the same cost, [M, S]; NaN where a method does not reach the cost, and then the result is NaN.
    """
    lowest = np.nanmin(errors, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(errors > 0, (errors - lowest) / errors, 0.0)
    return np.where(np.isnan(errors).any(axis=1), np.nan, shares.mean(axis=1))
