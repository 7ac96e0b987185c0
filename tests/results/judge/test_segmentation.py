"""Judgements on segmentation runs: differences between methods, symptoms, and reproduction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from results.judge.contrast import AHEAD, contrast
from results.judge.failures import failures
from results.judge.reproduction import judge
from results.judge.weak_runs import NEVER_PREDICTED, weak_runs
from results.metric import MIOU
from results.stats.classes import Balance
from results.store.folder import Store
from results.tables.backbones import backbone_table
from results.tables.loading import load_runs
from results.tables.outcomes import PixelOutcomes
from results.tables.run import STATIC, Run
from tests.segmentation_runs import POLICY, write_segmentation

HALF = f"{POLICY}/equal-macs-0.5"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_segmentation(tmp_path_factory.mktemp("scenes"), methods=("lgvit", "vanilla"))


@pytest.fixture(scope="module")
def runs(store: Store) -> dict[str, Run]:
    loaded, problems = load_runs(store, store.run_ids())
    assert problems == []
    return {run.record.run_id: run for run in loaded}


def without_class(run: Run, index: int) -> Run:
    """The run as if all pixels of a class were answered as background, everywhere."""
    counts = run.pixel_counts.counts.copy()
    counts[..., 0, 1] += counts[..., index, 0] + counts[..., index, 1]
    counts[..., index, 2] += counts[..., index, 0]
    counts[..., index, :2] = 0
    evidence = replace(run.pixel_counts, counts=counts)
    outcomes = {}
    for name, at in run.point_outcomes.items():
        assert isinstance(at, PixelOutcomes)
        outcomes[name] = replace(at, evidence=evidence)
    return run.changed(point_outcomes=outcomes)


def test_methods_are_tested_with_the_statistics_of_the_miou(runs: dict[str, Run]) -> None:
    first, second = ({seed: (runs[f"{name}-scenes-{seed}"], HALF) for seed in (0, 1)} for name in ("lgvit", "vanilla"))
    result = contrast(first, second)
    assert result is not None
    assert (result.metric, result.result, result.estimate.kind) == (MIOU, AHEAD, "test samples")
    means = [
        runs[f"lgvit-scenes-{s}"].values(HALF).mean() - runs[f"vanilla-scenes-{s}"].values(HALF).mean() for s in (0, 1)
    ]
    assert result.estimate.value == pytest.approx(np.mean(means))
    low, high = result.simultaneous
    assert low <= result.estimate.low < result.estimate.value < result.estimate.high <= high
    same = contrast(first, first)
    assert same is not None
    assert same.p == 1


def test_the_balance_of_pixels_by_hand() -> None:
    balance = Balance.of_pixels(np.array([[6, 3, 0], [1, 0, 3], [0, 1, 0], [0, 0, 2]]))
    assert balance.classes.tolist() == [0, 1, 3]  # the third class has no label
    assert balance.recall.tolist() == [1, 0.25, 0]
    assert balance.predicted.tolist() == [9, 1, 0]
    assert balance.never_predicted == [3]
    # Always answering class 0: its IoU is 6 of 12 pixels, that of the two others 0.
    assert balance.majority_share == pytest.approx(0.5 / 3)


def test_classes_that_are_never_answered_are_named(runs: dict[str, Run]) -> None:
    static, lgvit = runs["static-scenes-0"], runs["lgvit-scenes-0"]
    (row,) = backbone_table([static, lgvit]).to_dict("records")  # they share the backbone
    assert row["accuracy"] == pytest.approx(static.record.static_accuracy.test)
    assert row["never_predicted"] == ""
    assert not [symptom for symptom in weak_runs([static, lgvit]) if symptom.signature == NEVER_PREDICTED]
    (symptom,) = [s for s in weak_runs([without_class(static, 5)]) if s.signature == NEVER_PREDICTED]
    assert "boot" in symptom.sentence
    assert "pixels" in symptom.sentence
    lost = lgvit.changed(
        point_outcomes={**without_class(lgvit, 5).point_outcomes, STATIC: lgvit.point_outcomes[STATIC]}
    )
    (symptom,) = [s for s in weak_runs([lost]) if s.signature == NEVER_PREDICTED]
    assert "boot" in symptom.sentence


def test_symptoms_speak_of_the_miou(runs: dict[str, Run]) -> None:
    table = failures(list(runs.values()))
    assert "low mIoU despite speed-up" in set(table["signature"])
    assert not table["sentence"].str.contains("classifies|accuracy").any()


def test_a_segmentation_is_compared_with_its_reproduction(store: Store, runs: dict[str, Run]) -> None:
    assert judge(store, store, "lgvit-scenes-0", "lgvit-scenes-0", bitwise=True).reproduced
    other = judge(store, store, "lgvit-scenes-0", "vanilla-scenes-0", bitwise=False)
    assert not other.reproduced
    parts = pd.DataFrame([vars(part) for part in other.parts]).set_index("what")
    assert parts.loc["mIoU without exits", "equal"]
    assert not parts.loc["answers.parquet", "equal"]
    assert not parts.loc[HALF, "close"]
    assert "points" in str(parts.loc[HALF, "remark"])
