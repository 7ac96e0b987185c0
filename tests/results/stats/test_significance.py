"""Tests reject as often as they should, and not more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats.significance import holm, mcnemar, realised


def test_mcnemar_by_hand() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 50)
    second = np.array([False] * 8 + [True] * 2 + [True] * 50)
    # Two-sided binomial of 8 in 10: 2 * (45 + 10 + 1) / 1024.
    assert mcnemar(first, second) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(first, first) == 1.0
    assert mcnemar(second, first) == mcnemar(first, second)


def test_mcnemar_rejects_a_true_null_at_most_one_time_in_twenty_and_a_false_one_often() -> None:
    rng = np.random.default_rng(0)

    def rejections(only_first: float, only_second: float) -> float:
        p_values = []
        for _ in range(400):
            kind = rng.choice(4, size=1000, p=[only_first, only_second, 0.7, 0.3 - only_first - only_second])
            p_values.append(mcnemar((kind == 0) | (kind == 2), (kind == 1) | (kind == 2)) < 0.05)
        return float(np.mean(p_values))

    assert rejections(0.04, 0.04) <= 0.07
    assert rejections(0.07, 0.03) > 0.95


def test_holm_equals_a_computation_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(values: list[float]) -> None:
    p = np.array(values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(p * len(p), 1) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_holm_bounds_the_chance_of_any_false_rejection() -> None:
    rng = np.random.default_rng(1)
    false = [holm(rng.random(8)).min() < 0.05 for _ in range(4000)]
    assert 0.035 <= np.mean(false) <= 0.062
    unadjusted = [rng.random(8).min() < 0.05 for _ in range(4000)]
    assert np.mean(unadjusted) > 0.25


def test_a_mixed_point_is_sampled_by_its_weights_with_the_same_draws_for_two_methods() -> None:
    right = np.stack([np.ones(20_000, bool), np.zeros(20_000, bool)])
    drawn = realised(right, np.array([0.3, 0.7]))
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)
    assert (realised(right, np.array([0.3, 0.7])) == drawn).all()
    assert (realised(right[:1], np.array([1.0])) == right[0]).all()
