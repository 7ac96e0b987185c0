"""Operating points equal their definition, computed in a second, slower way."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from results.record import CostTable
from results.stats.curves import cheapest_within_drop, enclosing_settings, measure

accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(accuracies, st.floats(0, 1), st.floats(0, 0.2), st.integers(0, 2**31))
def test_cheapest_within_drop_is_the_cheapest(values: list[float], reference: float, drop: float, seed: int) -> None:
    accuracy = np.array(values)
    cost = np.random.default_rng(seed).integers(1, 5, len(values)).astype(float)
    cheapest = cheapest_within_drop(accuracy, cost, reference, drop)
    good = [t for t in range(len(values)) if accuracy[t] >= reference - drop - 1e-12]
    if not good:
        assert cheapest is None
    else:
        assert cheapest in good
        assert all((cost[cheapest], -accuracy[cheapest]) <= (cost[t], -accuracy[t]) for t in good)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.floats(0.5, 55))
def test_the_mixture_costs_exactly_the_budget(costs: list[int], budget: float) -> None:
    cost = np.array(costs, dtype=float)
    mixture = enclosing_settings(cost, budget)
    if budget < cost.min() or budget > cost.max():
        assert mixture == []
        return
    assert np.isclose(sum(weight for _, weight in mixture), 1)
    assert np.isclose(sum(weight * cost[t] for t, weight in mixture), budget)
    assert all(0 <= weight <= 1 for _, weight in mixture)
    # Neighbours: nothing lies strictly between them.
    ends = [cost[t] for t, _ in mixture]
    assert not ((cost > min(ends)) & (cost < max(ends))).any()


def test_a_mixture_is_the_weighted_mean_of_its_settings() -> None:
    costs = CostTable(
        stem=1, blocks=(10, 10), heads=(2, 3), cumulative=(13, 26), depth=2, baseline=24, norms=0,
        linear_conv_cumulative=(13, 26), linear_conv_baseline=24, parameters=0, heads_parameters=0, uncounted=(),
    )  # fmt: skip
    accuracy, shares = np.array([0.5, 0.9]), np.array([[1.0, 0.0], [0.0, 1.0]])
    measured = measure([(0, 0.25), (1, 0.75)], accuracy, shares, costs, [1, 2])
    assert (measured.accuracy, measured.mean_macs, measured.mean_block) == (0.8, 22.75, 1.75)
    assert measured.exit_shares == (0.25, 0.75)
