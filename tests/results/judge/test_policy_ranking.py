"""Policies ranked at equal cost: the difference to the best is paired, and corrected over all comparisons."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmark.cli.sweep_view import as_table, ranking
from results.judge.policy_ranking import rank_policies
from results.metric import ACCURACY, MIOU
from results.stats.significance import holm, sign_flip
from results.stats.statistics import accuracy_interval, paired_interval


def answers(right: int, samples: int = 400, start: int = 0) -> np.ndarray:
    """Correct for this many samples."""
    correct = np.zeros(samples)
    correct[start : start + right] = 1
    return correct


POLICIES = {"b": [answers(300)], "worst": [answers(200)], "a": [answers(320)], "tie": [answers(318)]}


def test_ranked_with_paired_differences_to_the_best() -> None:
    other = {"x": [answers(10)], "y": [answers(11)]}
    ranked = rank_policies({"first": POLICIES, "second": other})
    assert [row.policy for row in ranked["first"]] == ["a", "tie", "b", "worst"]
    best, tie, behind, worst = ranked["first"]
    assert best.to_best is None
    assert (best.low, best.high) == accuracy_interval(answers(320))
    assert tie.ties
    assert not any(row.ties for row in (best, behind, worst))
    assert behind.to_best is not None
    difference = answers(300) - answers(320)
    assert behind.to_best.estimate.value == pytest.approx(-0.05)
    assert (behind.to_best.estimate.low, behind.to_best.estimate.high) == paired_interval(difference)
    # Holm over all pairs of both settings.
    counts = [320, 318, 300, 200]
    raw = [sign_flip(answers(one) - answers(other)) for one, other in combinations(counts, 2)]
    expected = holm(np.array([*raw, sign_flip(answers(1, start=10))]))
    adjusted = [row.to_best.p for rows in ranked.values() for row in rows if row.to_best is not None]
    np.testing.assert_allclose(adjusted, [*expected[:3], expected[-1]])


def test_seeds_are_pooled() -> None:
    (best, other) = rank_policies({"s": {"a": [answers(10), answers(30)], "b": [answers(12), answers(14)]}})["s"]
    assert best.policy == "a"
    assert best.accuracy == pytest.approx(20 / 400)
    assert other.to_best is not None
    assert other.to_best.seeds == 2


def test_the_ranking_fits_80_columns() -> None:
    name = "a-policy-with-a-long-name(patience=3)"
    setting = "lgvit, vit_nano_patch4_28, exits paper, 1 seed"
    ranked = rank_policies({setting: {**POLICIES, name: [answers(319)]}})
    lines = ranking(ranked, {setting: ACCURACY}, {}, 0.5, 80)
    assert "Holm's correction over all 10 pairs of policies" in " ".join(" ".join(lines).split())
    assert any(line.startswith("Accuracy in %") for line in lines)
    assert MIOU.note in " ".join(ranking(ranked, {setting: MIOU}, {}, 0.5, 80))
    assert max(map(len, lines)) <= 80
    (first,) = (line for line in lines if line.startswith("a "))
    assert "best" in first
    (tie,) = (line for line in lines if line.startswith(name))
    assert tie.endswith("tie")
    assert any("Holm" in line for line in lines)
    table = as_table(ranked, 0.5)
    assert table["policy"].tolist() == ["a", name, "tie", "b", "worst"]
    assert table["tie"].tolist()[1:] == [True, True, False, False]
