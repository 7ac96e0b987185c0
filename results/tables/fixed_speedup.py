"""The accuracy drop of a run at a fixed speed-up."""

from __future__ import annotations

import numpy as np

from results.record import DoneRecord
from results.tables.run import STATIC, Run


def cost_shares(record: DoneRecord, metric: str) -> np.ndarray:
    """Cost of exiting at each exit as a share of the backbone without exits, [K].

    Args:
        record: the record of the run.
        metric: ``layer`` counts blocks, as the paper does; ``mac`` counts MACs with every evaluated head.
    """
    if metric == "layer":
        return np.array([*record.spec.train.exits, len(record.costs.blocks)]) / record.depth
    return np.array(record.costs.cumulative) / record.costs.baseline


def drop_at_speedup(run: Run, policy: str, metric: str, speedup: float) -> np.ndarray | None:
    """The accuracy drop of each test sample against the backbone without exits, at this speed-up on test.

    The settings are those at the corners of the hull on val. The two neighbours of the speed-up are mixed so that the mean cost
    on test is exact. The mixing weight also depends on the test samples. To account for this in the variance of the mean, each
    drop is increased by the slope of accuracy over cost times the deviation of the sample's cost, which has mean 0.

    Args:
        run: a run with early exits.
        policy: label of one of its policies.
        metric: see `cost_shares`.
        speedup: speed-up over the backbone without exits, at least 1.

    Returns:
        [N], in ascending order of sample ids; None if all settings are slower. If all settings are faster, the drop at the
        slowest setting.
    """
    outcomes = run.hull_outcomes.get(policy)
    if outcomes is None:
        return None
    static = run.point_outcomes[STATIC].values
    costs = cost_shares(run.record, metric)[outcomes.exit]
    order = np.argsort(costs.mean(axis=1), kind="stable")
    costs, values = costs[order], outcomes.values[order].astype(np.float64)
    means, target = costs.mean(axis=1), 1 / speedup
    above = int(np.searchsorted(means, target))
    if above == len(means):
        return static - values[-1]
    if means[above] == target:
        return static - values[above]
    if above == 0:
        return None
    share = (target - means[above - 1]) / (means[above] - means[above - 1])
    mixed = (1 - share) * values[above - 1] + share * values[above]
    cost = (1 - share) * costs[above - 1] + share * costs[above]
    slope = (values[above].mean() - values[above - 1].mean()) / (means[above] - means[above - 1])
    return static - mixed + slope * (cost - target)
