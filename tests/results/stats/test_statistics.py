"""Intervals have the stated coverage, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from results.stats.statistics import bootstrap_mean, detectable_difference, over_seeds, wilson


def coverage(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_the_paired_bootstrap_covers_the_true_difference() -> None:
    rng = np.random.default_rng(0)
    # first right in 82 %, second in 80 %, agreeing most of the time: P(+1) = .05, P(-1) = .03
    draws = [rng.choice([1.0, -1.0, 0.0], size=1000, p=[0.05, 0.03, 0.92]) for _ in range(300)]
    assert 0.91 <= coverage([bootstrap_mean(draw) for draw in draws], 0.02) <= 0.98


@pytest.mark.parametrize(
    ("values", "shares", "size"),
    [
        ([0.0, 1.0], [0.2, 0.8], 4000),
        ([0.0, 1.0], [0.02, 0.98], 1000),
        ([-1.0, 0.0, 1.0], [0.03, 0.92, 0.05], 1000),
        ([0.0, 0.25, 1.0], [0.3, 0.3, 0.4], 400),
        ([-1.0, -0.7, -0.3, 0.0, 0.3, 0.7, 1.0], [0.01, 0.01, 0.02, 0.9, 0.02, 0.02, 0.02], 4000),
        ([4.0, 5.0, 6.0, 12.0], [0.7, 0.15, 0.1, 0.05], 500),
    ],
)
def test_the_bootstrap_is_the_textbook_one(values: list[float], shares: list[float], size: int) -> None:
    rng = np.random.default_rng(1)
    sample = rng.choice(values, size=size, p=shares)
    slow = np.sort([sample[rng.integers(0, size, size)].mean() for _ in range(10_000)])
    error = slow.std()
    np.testing.assert_allclose(bootstrap_mean(sample), np.quantile(slow, [0.025, 0.975]), atol=0.1 * error)


def test_the_bootstrap_of_a_constant_is_a_point() -> None:
    assert bootstrap_mean(np.ones(5)) == (1.0, 1.0)
    low, high = bootstrap_mean(np.array([1.0] * 99 + [0.0]))
    assert 0.96 <= low < 0.99 <= high <= 1.0


def test_wilson_covers() -> None:
    rng = np.random.default_rng(2)
    assert 0.93 <= coverage([wilson(int(rng.binomial(500, 0.8)), 500) for _ in range(500)], 0.8) <= 0.97


def test_the_interval_over_seeds_covers() -> None:
    rng = np.random.default_rng(3)
    assert 0.93 <= coverage([over_seeds(rng.normal(0.8, 0.01, 5)) for _ in range(1000)], 0.8) <= 0.97
    with pytest.raises(ValueError, match="at least two"):
        over_seeds([0.8])


def test_a_detectable_difference_is_detected_with_power_80_percent() -> None:
    rng = np.random.default_rng(4)
    pilot = rng.choice([1.0, -1.0, 0.0], size=2000, p=[0.05, 0.05, 0.9])
    true = detectable_difference(pilot)
    detected = []
    for _ in range(400):
        draw = rng.choice([1.0, -1.0, 0.0], size=2000, p=[0.05 + true / 2, 0.05 - true / 2, 0.9])
        detected.append(bootstrap_mean(draw)[0] > 0)
    assert 0.74 <= np.mean(detected) <= 0.87
