"""Speed-accuracy curves and operating points. Pure functions over exits and correctness; nothing here knows a policy.

Shapes: T settings of one policy, N samples, K exits with the final one last. Settings may come in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.record import CostTable, Measured


def mean_cost(exits: np.ndarray, cost_at_exit: Sequence[float]) -> np.ndarray:
    """Mean cost of every setting.

    Args:
        exits: exit index of each sample, ints [T, N].
        cost_at_exit: cost of leaving at each exit, length K.

    Returns:
        floats [T].
    """
    return np.asarray(cost_at_exit, dtype=np.float64)[exits].mean(axis=-1)


def cheapest_within_drop(accuracy: np.ndarray, cost: np.ndarray, reference: float, drop: float) -> int | None:
    """The index of the cheapest setting whose accuracy is at least ``reference - drop``; None if there is none.

    Among equally cheap settings the more accurate one wins.

    >>> cheapest_within_drop(np.array([0.7, 0.8, 0.9]), np.array([1.0, 2.0, 3.0]), reference=0.9, drop=0.1)
    1
    """
    slack = 1e-12  # 0.9 - 0.1 is a little more than 0.8 in binary
    good = np.flatnonzero(accuracy >= reference - drop - slack)
    if len(good) == 0:
        return None
    return int(good[np.lexsort((-accuracy[good], cost[good]))[0]])


def enclosing_settings(cost: np.ndarray, budget: float) -> list[tuple[int, float]]:
    """The settings on both sides of a budget, with weights whose mixture costs exactly the budget.

    Returns:
        one or two (index, weight) pairs, weights summing to 1; empty if the budget is out of reach on either side.

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
    chosen: Sequence[tuple[int, float]], exits: np.ndarray, correct: np.ndarray, costs: CostTable, blocks: Sequence[int]
) -> Measured:
    """What a mixture of settings achieves on one split.

    Args:
        chosen: (index into T, weight) pairs.
        exits: exit index, ints [T, N].
        correct: whether the answer at that exit is right, bools [T, N].
        costs: of the run.
        blocks: block number of each exit, the last block for the final one; length K.
    """
    count = len(blocks)
    shares = sum(weight * np.bincount(exits[t], minlength=count) / exits.shape[1] for t, weight in chosen)
    assert isinstance(shares, np.ndarray)
    return Measured(
        accuracy=float(sum(weight * correct[t].mean() for t, weight in chosen)),
        mean_macs=float(shares @ np.asarray(costs.cumulative, dtype=np.float64)),
        mean_block=float(shares @ np.asarray(blocks, dtype=np.float64)),
        exit_shares=tuple(float(share) for share in shares),
    )
