"""Runs that say nothing about early exits are recognised: weak backbones, one exit for all, a small val split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.judge.failures import failures
from results.judge.weak_runs import NEAR_MAJORITY, NEVER_PREDICTED, ONE_EXIT, SMALL_VAL, near_majority_limit, weak_runs
from results.stats.classes import Balance
from results.store.folder import Store
from results.tables.backbones import backbone_table
from results.tables.loading import load_runs
from results.tables.run import STATIC, Run
from tests.hard_photos import CLASSES, IMAGES
from tests.results.judge.paper_scale import class_outcomes


@pytest.fixture(scope="module")
def runs(hard_photos: Store) -> list[Run]:
    photos, problems = load_runs(hard_photos, hard_photos.run_ids())
    assert problems == []
    return photos


def test_recall_of_unbalanced_classes() -> None:
    balance = Balance.of(np.array([0, 0, 0, 2, 2, 5]), np.array([0, 0, 2, 2, 0, 0]))
    assert balance.classes.tolist() == [0, 2, 5]
    assert balance.samples.tolist() == [3, 2, 1]
    assert balance.recall.tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert balance.majority_share == pytest.approx(1 / 2)
    assert balance.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert balance.never_predicted == [5]


@pytest.mark.parametrize(
    ("share", "accuracy", "weak"),
    [(0.575, 0.678, True), (0.95, 0.98, False), (0.95, 0.96, True), (0.01, 0.3, False), (0.1, 0.12, True)],
)
def test_hardly_above_the_majority_class(share: float, accuracy: float, weak: bool) -> None:
    assert (accuracy < near_majority_limit(share)) is weak


def test_the_symptoms_of_hard_photos(runs: list[Run]) -> None:
    symptoms = {(symptom.signature, symptom.run_id): symptom for symptom in weak_runs(runs)}
    assert set(symptoms) == {
        (NEVER_PREDICTED, "static-photos"),
        (NEAR_MAJORITY, "static-photos"),
        (ONE_EXIT, "lgvit-photos"),
    }
    for name in CLASSES[2:]:
        assert name in symptoms[NEVER_PREDICTED, "static-photos"].sentence
    accuracy = runs[0].record.static_accuracy.test
    assert symptoms[NEAR_MAJORITY, "static-photos"].value == pytest.approx(accuracy)
    # The truncated backbone was run, too, and its accuracy stands beside.
    assert f"truncated(depth=4) was run: {100 * accuracy:.1f} %" in symptoms[ONE_EXIT, "lgvit-photos"].sentence
    assert set(failures(runs)["signature"]) >= {signature for signature, _ in symptoms}


def test_the_table_of_backbones(runs: list[Run]) -> None:
    (row,) = backbone_table(runs).to_dict("records")  # runs that share a backbone share a row
    assert row["run_id"] == "static-photos"
    assert row["majority"] == "intact"
    assert row["majority_share"] == pytest.approx(0.575)
    assert row["test"] == IMAGES
    assert row["never_predicted"] == "dusty, shaded"
    assert row["balanced_accuracy"] < row["accuracy"]
    assert row["lowest_recall"] == 0


def test_a_small_val_split(runs: list[Run]) -> None:
    """Every tenth image is classified by the exits otherwise than by the backbone."""
    run = next(run for run in runs if run.method == "lgvit")
    at = {
        name: of if name == STATIC else replace(of, prediction=np.where(of.sample_id % 10 == 0, 2, of.prediction))
        for name, of in class_outcomes(run).items()
    }

    def flagged(images: int) -> list[float]:
        data = run.record.data.model_copy(update={"sizes": run.record.data.sizes | {"val": images}})
        changed = replace(run, record=run.record.model_copy(update={"data": data}), point_outcomes=at)
        return [symptom.value for symptom in weak_runs([changed]) if symptom.signature == SMALL_VAL]

    assert flagged(10**6) == []
    (few,), (fewer,) = flagged(100), flagged(25)
    assert fewer == pytest.approx(2 * few)
