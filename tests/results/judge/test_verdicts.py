"""The rules of the verdicts at their limits, and their error rates by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from results.judge.verdicts import (
    Estimate,
    for_a_headline,
    is_close,
    judge_drop,
    judge_number,
    over_runs,
    over_samples,
    paired_difference,
)


def estimate(value: float, half: float, p: float = 0.5) -> Estimate:
    return Estimate(value, value - half, value + half, "test samples", p)


@pytest.mark.parametrize(("drop", "verdict"), [
    (estimate(0.010, 0.005), "reproduced"),
    (Estimate(0.015, 0.010, 0.020, "seeds"), "reproduced"),  # exactly at the limit
    (estimate(0.019, 0.005), "close"),  # at most half a point more
    (estimate(0.019, 0.015), "inconclusive"),  # a wide interval decides nothing
    (estimate(0.030, 0.005), "not reproduced"),
    (estimate(-0.010, 0.005), "reproduced"),  # a gain
    (estimate(float("nan"), 0.005), "inconclusive"),
])  # fmt: skip
def test_drops_at_a_fixed_speed_up(drop: Estimate, verdict: str) -> None:
    assert judge_drop([drop], allowed=0.02) == verdict


@pytest.mark.parametrize(("true_drop", "allowed_share", "verdict"), [
    (0.012, 0.9, "reproduced"), (0.030, 0.9, "not reproduced"), (0.020, 0.05, "reproduced"),
])  # fmt: skip
def test_a_claim_of_a_drop_at_five_seeds(true_drop: float, allowed_share: float, verdict: str) -> None:
    """A true drop below the limit is reproduced in most trials; one exactly at the limit in at most 5 %."""
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(100):
        seeds = rng.normal(true_drop, 0.001, 5)
        drops = [rng.choice([1.0, -1.0, 0.0], 10_000, p=[d + 0.01, 0.01, 0.98 - d]) for d in seeds]
        verdicts.append(judge_drop([paired_difference(drops), over_samples(drops)], 0.02))
    share = verdicts.count(verdict) / len(verdicts)
    assert share >= allowed_share if allowed_share > 0.5 else share <= allowed_share


def test_seeds_with_the_same_test_images_do_not_hide_their_number() -> None:
    """A true drop of 2 points: on 1,000 shared images, seeds that are alike lie below it together in a third of the trials."""
    rng = np.random.default_rng(4)
    by_seeds, by_both = 0, 0
    for _ in range(100):
        images = rng.choice([1.0, -1.0, 0.0], 1_000, p=[0.03, 0.01, 0.96])
        drops = [np.where(rng.random(1_000) < 0.004, rng.choice([1.0, -1.0], 1_000), images) for _ in range(5)]
        seeds, samples = paired_difference(drops), over_samples(drops)
        assert (seeds.kind, samples.kind) == ("seeds", "test samples")
        by_seeds += judge_drop([seeds], 0.02) == "reproduced"
        by_both += judge_drop([seeds, samples], 0.02) == "reproduced"
    assert by_seeds > 20
    assert by_both <= 5


def test_a_published_number_is_close_within_half_a_point_and_a_wide_interval_leaves_it_open() -> None:
    assert judge_number(estimate(0.880, 0.002), 0.885) == "close"
    assert judge_number(estimate(0.879, 0.002), 0.885) == "not reproduced"
    assert judge_number(estimate(0.879, 0.007), 0.885) == "inconclusive"
    assert judge_number(estimate(0.880, 0.020), 0.885) == "close"
    assert judge_number(Estimate(float("nan"), 0.8, 0.9, "seeds"), 0.885) == "inconclusive"
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
    same = over_runs([0.885] * 5, (0.8, 0.9))
    assert np.isnan([same.low, same.high]).all()
    assert judge_number(same, 0.885) == "inconclusive"
    assert paired_difference([np.zeros(10)]).p == 1.0
