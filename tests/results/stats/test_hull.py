"""Hulls, areas, calibration, speed-ups and the optimism gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats.calibration import expected_calibration_error
from results.stats.hull import accuracy_at, area, upper_hull
from results.stats.optimism import optimism
from results.stats.speedups import layer_speedup, mac_speedup, official_swin_speedup

points = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=25)


@given(points)
def test_no_point_lies_above_the_hull(values: list[tuple[int, int]]) -> None:
    cost, accuracy = np.array(values, dtype=float).T
    corners = upper_hull(cost, accuracy)
    assert cost[corners[0]] == cost.min()
    assert accuracy[corners[-1]] == accuracy.max()
    assert (np.diff(cost[corners]) > 0).all()
    slopes = np.diff(accuracy[corners]) / np.diff(cost[corners])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    heights = np.interp(cost, cost[corners], accuracy[corners])
    assert (accuracy <= heights + 1e-9).all()


def test_the_area_of_a_straight_curve_is_its_midpoint() -> None:
    cost, accuracy = np.array([0.2, 1.2]), np.array([0.5, 1.0])
    assert area(cost, accuracy) == pytest.approx(0.75)
    assert accuracy_at(cost, accuracy, 0.7) == pytest.approx(0.75)


def test_budgets_outside_the_range_of_costs_are_not_extrapolated() -> None:
    cost, accuracy = np.array([0.5, 0.7]), np.array([0.6, 0.8])
    assert accuracy_at(cost, accuracy, 1.0) == 0.8
    assert np.isnan(accuracy_at(cost, accuracy, 0.4))
    assert np.isnan(area(cost, accuracy))
    assert area(cost, accuracy, (0.5, 0.7)) == pytest.approx(0.7)
    assert area(cost, accuracy, (0.7, 0.9)) == pytest.approx(0.8)


def test_settings_that_are_not_on_the_hull_change_nothing() -> None:
    cost, accuracy = np.array([0.3, 0.6, 1.0]), np.array([0.6, 0.8, 0.9])
    more_cost, more_accuracy = np.append(cost, [0.65, 1.1]), np.append(accuracy, [0.7, 0.85])
    corners = upper_hull(more_cost, more_accuracy)
    assert sorted(corners.tolist()) == [0, 1, 2]


def test_calibration_by_hand_and_by_definition() -> None:
    confidence, correct = np.array([0.9, 0.6, 0.7, 0.8]), np.array([True, False, True, False])
    # Two bins: {.6, .7} with accuracy .5 and {.8, .9} with accuracy .5.
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx((0.15 + 0.35) / 2)
    assert expected_calibration_error(confidence, correct, bins=1) == pytest.approx(0.25)
    assert np.isnan(expected_calibration_error(np.array([]), np.array([], dtype=bool)))


def test_equal_confidences_share_a_bin() -> None:
    correct = np.repeat([True, False], 50)
    assert expected_calibration_error(np.full(100, 0.5), correct) == 0
    two = np.repeat([0.5, 0.9], 50)
    orders = [np.argsort(np.tile(correct[::2], 2), kind="stable"), np.arange(100)]
    first, second = (expected_calibration_error(two[order], np.tile(correct[::2], 2)[order]) for order in orders)
    assert first == pytest.approx(second)


def test_calibration_error_is_zero_or_the_overconfidence() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.3, 0.9, 50_000)
    correct = rng.random(50_000) < probability
    assert expected_calibration_error(probability, correct) < 0.01
    assert expected_calibration_error(probability + 0.1, correct) == pytest.approx(0.1, abs=0.01)
    order = rng.permutation(50_000)
    shuffled = expected_calibration_error(probability[order], correct[order])
    assert shuffled == pytest.approx(expected_calibration_error(probability, correct))


def test_speed_ups_by_hand() -> None:
    shares, blocks = [0.5, 0.0, 0.5], [4, 8, 24]
    assert layer_speedup(shares, blocks, 24) == 24 / 14
    assert official_swin_speedup(shares, blocks) == 24 / 13.5
    assert official_swin_speedup([1.0, 0.0], [1, 24]) == float("inf")  # all leave after block 1, which counts as none
    assert mac_speedup(shares, [10, 20, 30], 28) == 28 / 20
    assert layer_speedup([0, 0, 1], blocks, 24) == official_swin_speedup([0, 0, 1], blocks) == 1


def test_the_off_by_one_of_the_reference() -> None:
    """With a mean of 13.33 of 24 blocks, the speed-up is 1.80; the official code prints about 1.94 without final exits (D3)."""
    blocks = [13, 14, 24]
    shares = [2 / 3, 1 / 3, 0]
    assert layer_speedup(shares, blocks, 24) == pytest.approx(1.80, abs=0.005)
    assert official_swin_speedup(shares, blocks) == pytest.approx(1.946, abs=0.005)


def test_the_optimism_gap_by_hand() -> None:
    val = np.array([0.80, 0.90]), np.array([0.5, 1.0])
    test = np.array([0.88, 0.90]), np.array([0.5, 1.0])
    gap = optimism(val, test, static=(0.9, 0.9), drop=0.02)
    assert (gap.claimed_speedup, gap.honest_speedup) == (2.0, 1.0)
    assert gap.honest_drop - gap.claimed_drop == pytest.approx(-0.02)
    none = optimism((np.array([0.5]), np.array([1.0])), test, static=(0.9, 0.9), drop=0.02)
    assert np.isnan(none.honest_speedup)


def test_choosing_on_test_among_noise_is_optimistic_on_average() -> None:
    """All settings have the same accuracy; the choice on test finds one with a high measured accuracy."""
    rng = np.random.default_rng(2)
    cost = np.linspace(0.4, 1, 50)
    gaps = []
    for _ in range(200):
        val, test = (rng.normal(0.80, 0.01, 50) for _ in range(2))
        gap = optimism((val, cost), (test, cost), static=(0.81, 0.81), drop=0.005)
        gaps.append(gap.honest_drop - gap.claimed_drop)
    assert np.nanmean(gaps) > 0.005


def test_the_speed_up_of_a_truncated_model() -> None:
    assert layer_speedup([1.0], [8], 12) == 1.5
