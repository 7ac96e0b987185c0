"""The optimism gap: results with thresholds chosen on test, compared with thresholds chosen on val."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.stats.curves import cheapest_within_drop


@dataclass(frozen=True)
class Optimism:
    """Results for one permitted drop, on test. Speed-ups are in MACs; NaN if no setting qualifies.

    Attributes:
        claimed_speedup: speed-up of the setting chosen on *test*, the cheapest within the permitted drop.
        claimed_drop: accuracy drop of this setting.
        honest_speedup: speed-up of the setting chosen on val.
        honest_drop: accuracy drop of this setting, which may exceed the permitted drop.
    """

    claimed_speedup: float
    claimed_drop: float
    honest_speedup: float
    honest_drop: float


def optimism(
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    static: tuple[float, float],
    drop: float,
) -> Optimism:
    """Compare the choice of a setting on test with the choice on val.

    Args:
        val: accuracy and mean cost of each setting on val, [T] each; costs are shares of the backbone without exits.
        test: accuracy and mean cost of the same settings on test.
        static: accuracy of the backbone without exits on val and on test.
        drop: permitted accuracy drop.
    """
    chosen_on_val = cheapest_within_drop(*val, static[0], drop)
    chosen_on_test = cheapest_within_drop(*test, static[1], drop)
    values = []
    for t in (chosen_on_test, chosen_on_val):
        values += [np.nan, np.nan] if t is None else [1 / float(test[1][t]), static[1] - float(test[0][t])]
    return Optimism(*values)
