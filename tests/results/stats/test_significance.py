"""The tests have the stated error rates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from results.stats.significance import holm, one_sided, sign_flip, sign_flip_unbounded


def test_whole_differences_give_mcnemars_exact_test() -> None:
    differences = np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 50)
    # Two-sided binomial of 8 in 10: 2 * (45 + 10 + 1) / 1024.
    assert sign_flip(differences) == pytest.approx(2 * 56 / 1024)
    assert sign_flip(-differences) == sign_flip(differences[::-1]) == sign_flip(differences)
    assert sign_flip(np.zeros(10)) == sign_flip(np.array([1.0])) == 1.0


@given(st.lists(st.sampled_from([-1.0, -0.7, -0.3, 0.0, 0.3, 0.4, 0.7, 1.0]), min_size=1, max_size=11))
def test_fractional_differences_equal_the_enumeration_of_all_signs(values: list[float]) -> None:
    d = np.array(values)
    sums = np.array([signs @ np.abs(d) for signs in np.array(list(product([-1, 1], repeat=len(d))))])
    expected = (np.abs(sums) >= abs(d.sum()) - 1e-9).mean()
    assert sign_flip(d) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.sampled_from([-1.0, -0.7, -0.3, 0.0, 0.3, 0.4, 0.7, 1.0]), min_size=1, max_size=11))
def test_the_one_sided_test_equals_the_enumeration_of_all_signs(values: list[float]) -> None:
    d = np.array(values)
    sums = np.array([signs @ np.abs(d) for signs in np.array(list(product([-1, 1], repeat=len(d))))])
    assert one_sided(d) == pytest.approx((sums >= d.sum() - 1e-9).mean(), abs=1e-9)


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 6, 8, 10])
def test_means_over_training_seeds_are_not_rounded(seeds: int) -> None:
    """Three images with the difference of one seed and one with that of three the other way round have the sum 0."""
    assert sign_flip(np.array([1 / seeds] * 3 + [-3 / seeds])) == (1.0 if seeds > 2 else pytest.approx(1.0))


def test_many_fractional_differences_are_as_an_independent_normal_approximation() -> None:
    d = np.repeat([0.37, -0.37, 0.63, -0.63, 1.0, -1.0], [40, 22, 40, 25, 200, 160])
    assert sign_flip(d) == pytest.approx(2 * norm.sf(d.sum() / np.sqrt(np.square(d).sum())), rel=0.05)


def test_differences_without_bounds_have_the_same_p_at_any_scale() -> None:
    rng = np.random.default_rng(2)
    d = rng.normal(0.2, 1, 200)
    normal = 2 * norm.sf(d.sum() / np.sqrt(np.square(d).sum()))
    for scale in (1.0, 1e-4, 300.0):
        assert sign_flip_unbounded(scale * d) == pytest.approx(normal, rel=0.05)
    small = np.array([0.013, -0.004, 0.021, 0.008, 0.017, -0.002, 0.011, 0.016, 0.019])
    sums = np.array([signs @ np.abs(small) for signs in product([-1, 1], repeat=len(small))])
    assert sign_flip_unbounded(small) == pytest.approx((np.abs(sums) >= abs(small.sum()) - 1e-9).mean(), abs=0.01)
    assert sign_flip_unbounded(np.zeros(5)) == 1.0


def test_a_true_null_is_rejected_at_most_one_time_in_twenty_and_a_false_one_often() -> None:
    rng = np.random.default_rng(0)

    def rejections(ahead: float, behind: float) -> float:
        shares = [ahead, behind, 1 - ahead - behind]
        return float(np.mean([sign_flip(rng.choice([1.0, -1.0, 0.0], 1000, p=shares)) < 0.05 for _ in range(400)]))

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


def test_a_comparison_that_could_not_be_tested_counts_in_the_family() -> None:
    assert holm(np.array([0.01, np.nan])).tolist() == [0.02, 1.0]
