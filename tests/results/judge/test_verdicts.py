"""The rules of the verdicts at their limits, and their error rates by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from results.judge.verdicts import (
    Estimate,
    for_a_headline,
    is_close,
    judge_direction,
    judge_number,
    judge_speedup,
    over_runs,
    paired_difference,
)


def estimate(value: float, half: float, p: float = 0.5) -> Estimate:
    return Estimate(value, value - half, value + half, "test samples", p)


@pytest.mark.parametrize(("speedup", "drop", "verdict"), [
    (estimate(2.0, 0.1), estimate(0.010, 0.005), "reproduced"),
    (Estimate(1.9, 1.8, 2.0, "seeds"), Estimate(0.015, 0.010, 0.020, "seeds"), "reproduced"),  # exactly at the limit
    (estimate(1.88, 0.10), estimate(0.010, 0.005), "close"),  # the interval reaches below 1.8
    (estimate(1.75, 0.02), estimate(0.010, 0.005), "close"),  # within 5 % of 1.8
    (estimate(1.70, 0.02), estimate(0.010, 0.005), "not reproduced"),
    (estimate(2.5, 0.1), estimate(0.019, 0.005), "inconclusive"),  # fast, but the drop may be too large
    (estimate(2.5, 0.1), estimate(0.030, 0.005), "not reproduced"),
    (estimate(1.5, 0.6), estimate(0.010, 0.005), "close"),  # a wide interval does not refute
])  # fmt: skip
def test_speed_ups(speedup: Estimate, drop: Estimate, verdict: str) -> None:
    assert judge_speedup(speedup, drop, claimed=1.8, allowed=0.02) == verdict


def test_above_several_methods_requires_each_after_holm() -> None:
    sure, open_ = estimate(0.02, 0.01, p=0.001), estimate(0.005, 0.01, p=0.3)
    behind = estimate(-0.02, 0.01, p=0.001)
    assert judge_direction([sure]) == "reproduced"
    assert judge_direction([sure, sure]) == "reproduced"
    assert judge_direction([sure, open_]) == "inconclusive"
    assert judge_direction([sure, behind]) == "not reproduced"
    # One p-value of .03 is significant alone, but not among five.
    barely = estimate(0.02, 0.019, p=0.03)
    assert judge_direction([barely]) == "reproduced"
    assert judge_direction([barely] * 5) == "inconclusive"


def test_a_published_number_is_close_within_half_a_point_or_the_interval() -> None:
    assert judge_number(estimate(0.880, 0.002), 0.885) == "close"
    assert judge_number(estimate(0.879, 0.002), 0.885) == "not reproduced"
    assert judge_number(estimate(0.879, 0.007), 0.885) == "close"
    assert is_close(1.71, 1.80, 0.05 * 1.80)
    assert not is_close(1.70, 1.80, 0.05 * 1.80)


def test_fewer_than_five_seeds_are_inconclusive() -> None:
    assert for_a_headline("reproduced", 4) == "inconclusive"
    assert for_a_headline("not reproduced", 1) == "inconclusive"
    assert for_a_headline("reproduced", 5) == "reproduced"
    assert for_a_headline("not run", 1) == "not run"


def test_the_two_intervals_are_never_mixed() -> None:
    rng = np.random.default_rng(0)
    differences = [rng.choice([1.0, 0.0, -1.0], 500, p=[0.1, 0.85, 0.05]) for _ in range(5)]
    assert paired_difference(differences[:4]).kind == "test samples"
    assert paired_difference(differences).kind == "seeds"
    assert over_runs([1.5], (1.4, 1.6)) == Estimate(1.5, 1.4, 1.6, "test samples")
    assert over_runs([1.5, 1.6], (0, 0)).kind == "seeds"
    assert paired_difference([np.zeros(10)]).p == 1.0


def test_false_differences_are_rare() -> None:
    """Eight comparisons without any difference: a verdict beyond inconclusive in at most one of twenty."""
    rng = np.random.default_rng(1)
    for seeds in (1, 5):
        decided = []
        for _ in range(200):
            differences = [
                paired_difference([rng.choice([1.0, 0.0, -1.0], 400, p=[0.1, 0.8, 0.1]) for _ in range(seeds)])
                for _ in range(8)
            ]
            decided.append(judge_direction(differences) != "inconclusive")
        assert np.mean(decided) <= 0.08


def test_a_true_difference_is_detected() -> None:
    rng = np.random.default_rng(2)
    differences = [
        judge_direction(
            [paired_difference([rng.choice([1.0, 0.0], 1000, p=[0.05, 0.95]) for _ in range(5)]) for _ in range(4)]
        )
        for _ in range(50)
    ]
    assert differences.count("reproduced") >= 48
