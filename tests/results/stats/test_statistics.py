"""Intervals have the stated coverage, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from results.stats.significance import sign_flip
from results.stats.statistics import bounded_mean, detectable_difference, over_seeds, paired_interval, wilson


def coverage(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.slow
@pytest.mark.parametrize("count", [20, 200, 4000])
@pytest.mark.parametrize("share", [0.5, 0.83, 0.95, 0.99])
def test_intervals_cover_their_truth(count: int, share: float) -> None:
    """Between 93 and 97 %, computed exactly. With 20 samples, where reports give no verdict, and for few samples that differ,
    an interval may be conservative; never less than 92 %."""
    successes = np.arange(count + 1)
    ends = np.array([wilson(int(x), count) for x in successes])
    chance = binom.pmf(successes, count, share)
    covered = chance[(ends[:, 0] <= share) & (share <= ends[:, 1])].sum()
    assert (0.92 if count < 200 else 0.93) <= covered <= (0.985 if count < 200 else 0.97)

    error = 1 - share  # the second method errs on these samples, the first on half of them
    b = np.arange(min(count, int(count * error + 12 * np.sqrt(count * error) + 12)) + 1)
    ends = np.array([paired_interval(np.repeat([1.0, 0.0], [x, count - x])) for x in b])
    covered = binom.pmf(b, count, error / 2)[(ends[:, 0] <= error / 2) & (error / 2 <= ends[:, 1])].sum()
    assert covered >= (0.92 if count < 200 else 0.93)
    assert covered <= 0.97 or count * error / 2 < 20


def test_paired_intervals_of_differences_in_both_directions_cover() -> None:
    rng = np.random.default_rng(0)
    # first right in 82 %, second in 80 %, agreeing most of the time: P(+1) = .05, P(-1) = .03
    draws = [rng.choice([1.0, -1.0, 0.0], size=1000, p=[0.05, 0.03, 0.92]) for _ in range(300)]
    assert 0.92 <= coverage([paired_interval(draw) for draw in draws], 0.02) <= 0.98


def test_no_interval_has_zero_width() -> None:
    intervals = [
        wilson(20, 20), wilson(0, 20), paired_interval(np.zeros(20)), bounded_mean(np.full(20, 3.0), 3.0, 9.0),
    ]  # fmt: skip
    assert all(high > low for low, high in intervals)
    low, high = bounded_mean(np.full(20, 3.0), 3.0, 9.0)
    assert low == 3.0 < high < 9.0
    for equal in ([0.8] * 3, [0.1 + 0.2, 0.3], [0.0, 0.0]):
        assert np.isnan(over_seeds(equal)).all()


def test_one_discordant_image_does_not_exclude_zero() -> None:
    """The interval agrees with the exact test on how many images a difference takes."""
    for only_first, only_second in [(1, 0), (5, 0), (6, 0), (9, 2), (10, 2), (15, 5)]:
        d = np.repeat([1.0, -1.0, 0.0], [only_first, only_second, 4000])
        assert (paired_interval(d)[0] > 0) == (sign_flip(d) < 0.05), (only_first, only_second)


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
        detected.append(paired_interval(draw)[0] > 0)
    assert 0.74 <= np.mean(detected) <= 0.87
