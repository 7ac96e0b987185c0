"""Performance profiles and improvability on costs and errors that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from results.stats.profiles import WORST, cost_ratios, improvability, profile, profile_area

COSTS = np.array([[0.4, 0.6, 0.5], [0.5, 0.5, np.inf], [0.8, np.inf, 1.5]])


def test_a_profile_counts_settings_within_a_factor() -> None:
    ratios = cost_ratios(COSTS)
    assert ratios == pytest.approx(np.array([[1, 1.2, 1], [1.25, 1, np.inf], [2, np.inf, 3]]))
    assert profile(ratios, np.array([1.0, 1.2, 2.0])) == pytest.approx(
        np.array([[2 / 3, 1, 1], [1 / 3, 1 / 3, 2 / 3], [0, 0, 1 / 3]])
    )
    assert profile_area(ratios) == pytest.approx([(1 + 0.8 + 1) / 3, (0.75 + 1) / 3, 0])


def test_a_setting_that_no_method_solves_counts_for_none() -> None:
    assert cost_ratios(np.array([[0.5, np.inf], [1.0, np.inf]])) == pytest.approx(np.array([[1.0], [2.0]]))


@given(arrays(float, (3, 4), elements=st.floats(0.1, 2.0)))
def test_the_area_is_that_under_the_profile(costs: np.ndarray) -> None:
    ratios, factors = cost_ratios(costs), np.linspace(1, WORST, 4001)
    assert profile_area(ratios) == pytest.approx(profile(ratios, factors).mean(axis=1), abs=2e-3)


def test_improvability_is_zero_for_the_best_everywhere() -> None:
    errors = np.array([[0.2, 0.1], [0.25, 0.2], [np.nan, 0.1], [0.4, 0.1]])
    best, second, missing, last = improvability(errors)
    assert best == 0
    assert second == pytest.approx((0.2 + 0.5) / 2)
    assert np.isnan(missing)
    assert last == pytest.approx(0.25)
    assert improvability(np.zeros((2, 3))) == pytest.approx([0, 0])
