"""Exit statistics, and perfect and random routing: by definition, by brute force, and by invariances."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.stats.classes import per_class
from results.stats.controls import first_correct, oracle_at_shares, random_at_shares, regret
from results.stats.exits import agreement, disagreement, exit_conditional, flips, overthinking
from results.tables.answers import Answers

# Exits x samples; the last row is the final head.
CORRECT = np.array([
    [1, 0, 0, 1, 0],
    [0, 0, 1, 1, 0],
    [1, 0, 0, 1, 1],
], dtype=bool)  # fmt: skip
COST = np.array([1.0, 2.0, 4.0])


def test_overthinking_by_hand() -> None:
    result = overthinking(CORRECT, COST)
    assert result.wasteful == 2 / 5  # samples 0 and 3
    assert result.destructive == 1 / 5  # sample 2
    assert result.wasted_cost == (3 + 3 + 0) / 5


def test_the_first_correct_oracle_by_hand() -> None:
    oracle = first_correct(CORRECT, COST)
    assert oracle.accuracy == 4 / 5
    assert oracle.mean_cost == (1 + 1 + 2 + 1 + 4) / 5


def test_flips_and_agreement_by_hand() -> None:
    prediction = np.array([[0, 1, 2], [0, 2, 1], [0, 1, 1]])
    assert flips(prediction) == (0 + 2 + 1) / 3
    assert agreement(np.array([0, 2, 1]), prediction[-1], np.ones(3)) == pytest.approx(2 / 3)
    mixed = agreement(np.array([0, 0, 2, 1]), np.array([0, 0, 1, 1]), np.array([0.25, 0.75, 0.5, 0.5]))
    assert mixed == pytest.approx((1 + 0.5) / 2)


def test_exit_conditional_accuracy_by_hand() -> None:
    exits, right = np.array([0, 0, 2, 2]), np.array([True, False, True, True])
    result = exit_conditional(exits, right, np.array([True, True, True, False]), np.ones(4), 3)
    assert result.share.tolist() == [0.5, 0, 0.5]
    np.testing.assert_array_equal(result.accuracy, [0.5, np.nan, 1])
    np.testing.assert_array_equal(result.final_accuracy, [1, np.nan, 0.5])


def test_random_routing_is_the_mean_over_all_assignments() -> None:
    shares = np.array([2, 2, 1]) / 5
    assignments = set(permutations([0, 0, 1, 1, 2]))
    mean = np.mean([[CORRECT[k, n] for n, k in enumerate(row)] for row in assignments])
    assert random_at_shares(CORRECT, shares) == pytest.approx(mean)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 6))
def test_the_oracle_at_equal_shares_is_the_best_assignment(seed: int, exits: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    correct = rng.random((exits, samples)) < 0.5
    exit_taken = rng.integers(0, exits, samples)
    shares = np.bincount(exit_taken, minlength=exits) / samples
    best = max(np.mean([correct[k, n] for n, k in enumerate(row)]) for row in set(permutations(exit_taken.tolist())))
    assert oracle_at_shares(correct, shares) == pytest.approx(best, abs=1e-9)


def test_a_policy_is_between_random_and_perfect_routing() -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((9, 2000)) < np.linspace(0.6, 0.9, 9)[:, None]
    exit_taken = rng.integers(0, 9, 2000)  # random routing
    shares = np.bincount(exit_taken, minlength=9) / 2000
    controls = regret(correct[exit_taken, np.arange(2000)].mean(), correct, shares)
    assert abs(controls.gain) < 0.1
    assert controls.random < controls.oracle
    assert controls.regret == pytest.approx(controls.oracle - correct[exit_taken, np.arange(2000)].mean())
    assert regret(controls.oracle, correct, shares).gain == pytest.approx(1)
    assert np.isnan(regret(1.0, np.ones((3, 5), bool), np.array([0.2, 0.2, 0.6])).gain)


def test_the_order_of_samples_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    correct = rng.random((4, 50)) < 0.6
    shuffled = correct[:, rng.permutation(50)]
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    assert overthinking(correct, np.arange(4.0)) == overthinking(shuffled, np.arange(4.0))
    assert oracle_at_shares(correct, shares) == pytest.approx(oracle_at_shares(shuffled, shares))
    assert first_correct(correct, np.arange(4.0)) == first_correct(shuffled, np.arange(4.0))


def test_per_class_by_hand() -> None:
    table = per_class(
        label=np.array([0, 0, 2, 2]),
        cost=np.array([1.0, 0.5, 1.0, 0.5]),
        right=np.array([True, False, True, True]),
        static_right=np.array([True, True, False, False]),
        weight=np.array([1.0, 1.0, 0.25, 0.75]),
    )
    assert table["class"].tolist() == [0, 2]
    assert table["samples"].tolist() == [2, 1]
    assert table["cost"].tolist() == [0.75, 0.625]
    assert table["drop"].tolist() == [0.5, -1.0]


def answers() -> pd.DataFrame:
    exits, samples = 2, 3
    return pd.DataFrame(
        {
            "exit": np.repeat(np.arange(exits), samples),
            "sample_id": np.tile([7, 5, 6], exits),
            "label": np.tile([1, 0, 1], exits),
            "prediction": [1, 1, 1, 1, 0, 0],
            "confidence": [0.9, 0.5, 0.6, 0.9, 0.8, 0.7],
            "nll": [0.1] * 6,
        }
    )


def test_answers_are_read_in_the_order_of_ids() -> None:
    sorted_answers = Answers.from_table(answers())
    assert sorted_answers.sample_id.tolist() == [5, 6, 7]
    assert sorted_answers.correct.tolist() == [[False, True, True], [True, False, True]]
    shuffled = Answers.from_table(answers().sample(frac=1, random_state=0))
    assert (shuffled.prediction == sorted_answers.prediction).all()


@pytest.mark.parametrize(("table", "part"), [
    (answers().drop(columns="prediction"), "prediction"),
    (answers().iloc[:-1], "once"),
    (answers().iloc[[0, 1, 1, 3, 4, 5]], "once"),
    (answers().assign(sample_id=[7, 5, 6, 7, 5, 8]), "samples"),
    (answers().iloc[:0], "once"),
])  # fmt: skip
def test_damaged_answers_are_refused(table: pd.DataFrame, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Answers.from_table(table)


def test_disagreement_is_split_by_whether_the_final_classifier_is_right() -> None:
    label = np.array([0, 1, 2, 3])
    prediction = np.array([
        [0, 5, 2, 5],  # differs on samples 1 (final right), 2 (only the exit is right) and 3 (both are wrong)
        [0, 1, 7, 7],
        [0, 1, 7, 7],
    ])  # fmt: skip
    shares = disagreement(prediction, label)
    assert shares.all.tolist() == [3 / 4, 0]
    assert shares.final_right.tolist() == [1 / 2, 0]
    assert shares.final_wrong.tolist() == [1, 0]
    assert shares.corrected.tolist() == [1 / 2, 0]
    assert overthinking(prediction == label, np.array([1.0, 2.0, 4.0])).destructive == 1 / 4
    assert np.isnan(disagreement(prediction, prediction[-1]).corrected).all()
