"""Operating points on speed-accuracy curves. Pure functions over accuracies, costs and exit shares.

Shapes: T settings of one policy, K exits with the final one last. Settings may come in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.operating_point import Measured
from results.record import CostTable


def cheapest_within_drop(accuracy: np.ndarray, cost: np.ndarray, reference: float, drop: float) -> int | None:
    """The index of the cheapest setting whose accuracy is at least ``reference - drop``; None if there is none.

    Among equally cheap settings the more accurate one wins.

    >>> cheapest_within_drop(np.array([0.7, 0.8, 0.9]), np.array([1.0, 2.0, 3.0]), reference=0.9, drop=0.1)
    1
    """
    slack = 1e-12  # 0.9 - 0.1 is slightly more than 0.8 in floating point
    feasible = np.flatnonzero(accuracy >= reference - drop - slack)
    if len(feasible) == 0:
        return None
    return int(feasible[np.lexsort((-accuracy[feasible], cost[feasible]))[0]])


def enclosing_settings(cost: np.ndarray, budget: float) -> list[tuple[int, float]]:
    """The settings on both sides of a budget, with weights whose mixture costs exactly the budget.

    Returns:
        one or two (index, weight) pairs, weights summing to 1; empty if no setting lies on one side of the budget.

    >>> enclosing_settings(np.array([1.0, 2.0, 4.0]), 2.5)
    [(1, 0.75), (2, 0.25)]
    """
    order = np.argsort(cost, kind="stable")
    ordered = cost[order]
    above = int(np.searchsorted(ordered, budget, side="left"))
    if above == len(ordered):
        return []
    if ordered[above] == budget:
        return [(int(order[above]), 1.0)]
    if above == 0:
        return []
    low, high = ordered[above - 1], ordered[above]
    weight = float((high - budget) / (high - low))
    return [(int(order[above - 1]), weight), (int(order[above]), 1.0 - weight)]


def measure(
    mixture: Sequence[tuple[int, float]],
    accuracy: np.ndarray,
    shares: np.ndarray,
    costs: CostTable,
    blocks: Sequence[int],
) -> Measured:
    """Accuracy and costs of a mixture of settings on one split.

    Args:
        mixture: (index into T, weight) pairs.
        accuracy: accuracy of each setting, [T].
        shares: share of samples that exit at each exit, [T, K].
        costs: costs of the run.
        blocks: block number of each exit, the last block for the final exit; length K.
    """
    indices = [t for t, _ in mixture]
    weights = np.array([weight for _, weight in mixture])
    mixed = weights @ shares[indices]
    return Measured(
        accuracy=float(weights @ accuracy[indices]),
        mean_macs=float(mixed @ np.asarray(costs.cumulative, dtype=np.float64)),
        mean_block=float(mixed @ np.asarray(blocks, dtype=np.float64)),
        exit_shares=tuple(float(share) for share in mixed),
    )
