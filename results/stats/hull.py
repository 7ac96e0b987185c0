"""Summaries of a speed-accuracy curve: upper hull, accuracy at a budget, area over a fixed interval of budgets.

Costs are relative to the backbone without exits. Mixing settings reaches every point of the hull; its corners are chosen on val
and evaluated on test.
"""

from __future__ import annotations

import numpy as np

INTERVAL = (0.4, 1.0)  # budgets of the area, from the cost of LGViT's first exits to that of the backbone without exits
SHARES = (0.25, 0.4, 0.5, 0.6, 0.75, 1.0)


def upper_hull(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Indices of the corners of the upper concave hull, from the cheapest setting to the most accurate one.

    Args:
        cost: [T].
        accuracy: [T].
    """
    corners: list[int] = []
    x, y = cost.tolist(), accuracy.tolist()
    for t in np.lexsort((-accuracy, cost)).tolist():
        if corners and x[t] == x[corners[-1]]:
            continue  # same cost and no higher accuracy
        while len(corners) >= 2 and _turns_up(*((x[i], y[i]) for i in (*corners[-2:], t))):
            corners.pop()
        corners.append(t)
    best = int(np.argmax(accuracy[corners]))  # more expensive corners have no higher accuracy
    return np.array(corners[: best + 1])


def _turns_up(first: tuple[float, float], last: tuple[float, float], new: tuple[float, float]) -> bool:
    """Whether the last corner lies on or below the line from the previous corner to the new point."""
    return (last[1] - first[1]) * (new[0] - first[0]) <= (new[1] - first[1]) * (last[0] - first[0])


def accuracy_at(cost: np.ndarray, accuracy: np.ndarray, budget: float) -> float:
    """Accuracy at a budget, interpolated linearly between the two settings around it.

    Constant above the most expensive setting, because a budget is an upper bound; NaN below the cheapest setting.

    Args:
        cost: [T], in any order.
        accuracy: [T].
    """
    order = np.argsort(cost, kind="stable")
    return float(np.interp(budget, cost[order], accuracy[order], left=np.nan))


def area(cost: np.ndarray, accuracy: np.ndarray, interval: tuple[float, float] = INTERVAL) -> float:
    """Mean accuracy over a fixed interval of budgets: the area under `accuracy_at` divided by the length of the interval.

    NaN if the cheapest setting is above the start of the interval, because the curve is not extrapolated.
    """
    low, high = interval
    inner = cost[(cost > low) & (cost < high)]
    budgets = np.unique(np.concatenate([[low], inner, [high]]))
    heights = np.array([accuracy_at(cost, accuracy, float(budget)) for budget in budgets])
    return float(np.trapezoid(heights, budgets) / (high - low))
