"""The tables of metrics, computed again sample by sample from raw scores and cost integers."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.evaluation.scores import ExitScores, load_scores, score_file
from benchmark.evaluation.stored_sweeps import evaluate_policies
from results.record import Artifact
from results.spec import Configured
from results.store.files import sha256
from results.store.folder import Store, StoreError
from results.tables.loading import load_runs
from results.tables.metrics import (
    area_table,
    class_table,
    drift_table,
    exit_table,
    head_table,
    leaving_table,
    routing_table,
)
from results.tables.run import Run
from tests.conftest import SmokeRun


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    smoke_runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    return smoke_runs


@pytest.fixture(scope="module")
def scores(smoke: SmokeRun, runs: list[Run]) -> dict[str, dict[str, ExitScores]]:
    """Raw scores by run and split."""
    store = Store(smoke.results)
    by_run = {}
    for run in runs:
        stage = [f"scores-{reference.key}" for reference in run.record.stages if reference.stage == "scores"][-1]
        by_run[run.record.run_id] = {s: load_scores(store.artifact(stage, score_file(s))) for s in ("val", "test")}
    return by_run


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def test_exit_metrics_equal_an_independent_computation(
    runs: list[Run], scores: dict[str, dict[str, ExitScores]]
) -> None:
    table = exit_table(runs)
    assert len(table) == 4 * 9
    for run in runs[:2]:
        if run.is_static:
            continue
        test = scores[run.record.run_id]["test"]
        rows = table[table["run_id"] == run.record.run_id].reset_index()
        for k in (0, 8):
            right = nll = 0.0
            for logits, label in zip(test.logits[k].tolist(), test.labels.tolist(), strict=True):
                chance = softmax(logits)
                right += chance.index(max(chance)) == label
                nll -= math.log(chance[label])
            assert rows.loc[k, "accuracy"] == pytest.approx(right / 500)
            assert rows.loc[k, "nll"] == pytest.approx(nll / 500, rel=1e-4)
            assert 0 <= rows.loc[k, "ece"] <= 1
        assert run.record.costs is not None
        costs = run.record.costs
        last = (costs.stem + sum(costs.blocks) + sum(costs.heads)) / costs.baseline
        assert rows.loc[8, "macs"] == pytest.approx(last)


def test_head_metrics_equal_an_independent_computation(
    runs: list[Run], scores: dict[str, dict[str, ExitScores]]
) -> None:
    table = head_table(runs).set_index("run_id")
    for run in runs:
        if run.is_static:
            continue
        costs = run.record.costs
        assert costs is not None
        test = scores[run.record.run_id]["test"]
        wasteful = destructive = changes = oracle = spent = 0.0
        for n, label in enumerate(test.labels.tolist()):
            answers = test.logits[:, n].argmax(-1).tolist()
            right = [answer == label for answer in answers]
            wasteful += any(right[:-1]) and right[-1]
            destructive += any(right[:-1]) and not right[-1]
            oracle += any(right)
            spent += costs.cumulative[right.index(True) if any(right) else 0]
            changes += sum(a != b for a, b in pairwise(answers))
        row = table.loc[run.record.run_id]
        assert row["wasteful"] == pytest.approx(wasteful / 500)
        assert row["destructive"] == pytest.approx(destructive / 500)
        assert row["oracle_accuracy"] == pytest.approx(oracle / 500)
        assert row["oracle_macs"] == pytest.approx(spent / 500 / costs.baseline)
        assert row["flips"] == pytest.approx(changes / 500)


def test_exit_shares_sum_to_one(runs: list[Run]) -> None:
    table = leaving_table(runs)
    for (run_id, point), group in table.groupby(["run_id", "point"]):
        run = next(run for run in runs if run.record.run_id == run_id)
        recorded = next(p for p in run.record.points if p.name == point)
        assert recorded.test is not None
        np.testing.assert_allclose(group["share"], recorded.test.exit_shares)
        total = (group["share"] * group["accuracy"]).sum()
        assert total == pytest.approx(recorded.test.accuracy)


def test_routing_is_between_random_and_perfect(runs: list[Run], scores: dict[str, dict[str, ExitScores]]) -> None:
    table = routing_table(runs)
    assert len(table) == sum(point.reached for run in runs for point in run.record.points)
    assert (table["random"] <= table["oracle"] + 1e-9).all()
    assert (table["accuracy"] <= table["oracle"] + 1e-9).all()
    run = next(run for run in runs if run.method == "lgvit")
    point = next(point for point in run.record.points if point.kind == "accuracy-drop" and point.reached)
    test = scores[run.record.run_id]["test"]
    agree = 0
    for n in range(500):
        chances = [softmax(logits) for logits in test.logits[:, n].tolist()]
        threshold = point.settings[0].threshold
        left = next((chance for chance in chances[:-1] if max(chance) > threshold), chances[-1])
        agree += left.index(max(left)) == chances[-1].index(max(chances[-1]))
    row = table[(table["run_id"] == run.record.run_id) & (table["point"] == point.name)].iloc[0]
    assert row["agreement"] == pytest.approx(agree / 500, abs=2e-3)


def test_classes_add_up_to_the_drop(runs: list[Run]) -> None:
    table = class_table(runs)
    for (run_id, point), group in table.groupby(["run_id", "point"]):
        run = next(run for run in runs if run.record.run_id == run_id)
        recorded = next(p for p in run.record.points if p.name == point)
        assert recorded.test is not None
        assert run.record.costs is not None
        drop = (group["samples"] * group["drop"]).sum() / 500
        assert drop == pytest.approx(run.record.static_accuracy.test - recorded.test.accuracy)
        cost = (group["samples"] * group["cost"]).sum() / 500
        assert cost == pytest.approx(recorded.test.mean_macs / run.record.costs.baseline)


def test_areas_and_optimism_of_choosing_on_test(runs: list[Run]) -> None:
    table = area_table(runs)
    assert len(table) == 4
    assert table["area"].between(0, 1).all()
    shares = [name for name in table if str(name).startswith("accuracy_at_")]
    assert len(shares) == 6
    for run in runs:
        for point in run.record.points:
            if point.kind != "accuracy-drop" or point.test is None:
                continue
            row = table[table["run_id"] == run.record.run_id].iloc[0]
            assert run.record.costs is not None
            honest = run.record.costs.baseline / point.test.mean_macs
            assert row[f"drop_{point.target:g}_honest_speedup"] == pytest.approx(honest)
            # Choosing on test always stays within the permitted drop.
            assert not row[f"drop_{point.target:g}_claimed_drop"] > point.target + 1e-9


def test_areas_equal_an_independent_computation(runs: list[Run], scores: dict[str, dict[str, ExitScores]]) -> None:
    """Every setting sample by sample, the hull corner by corner, the area by a fine sum."""
    run = next(run for run in runs if run.method == "lgvit")
    costs = run.record.costs
    assert costs is not None
    ran = [
        costs.stem + sum(costs.blocks[: e.block]) + sum(costs.heads[: k + 1]) for k, e in enumerate(run.record.exits)
    ]
    settings = json.loads((run.folder / "thresholds.json").read_text())["policies"][0]["settings"]
    curve = {
        split: [_at(confidence, threshold, ran) for threshold in settings]
        for split, confidence in _sure(scores, run).items()
    }
    corners = _corners(curve["val"])
    points = sorted((cost / costs.baseline, accuracy) for cost, accuracy in (curve["test"][t] for t in corners))
    fine = [0.4 + 0.6 * (i + 0.5) / 20_000 for i in range(20_000)]
    heights = [_height(points, budget) for budget in fine]
    row = area_table([run]).iloc[0]
    # A confidence within float32 rounding of a threshold may be on either side.
    assert row["area"] == pytest.approx(sum(heights) / len(heights), abs=2e-3)
    for share in (0.5, 0.75, 1.0):
        assert row[f"accuracy_at_{100 * share:.0f}"] == pytest.approx(_height(points, share), abs=2e-3)


def test_budget_drift_equals_an_independent_computation_and_the_command_sweep(
    runs: list[Run], scores: dict[str, dict[str, ExitScores]], smoke: SmokeRun
) -> None:
    run = next(run for run in runs if run.method == "lgvit")
    costs = run.record.costs
    ran = [
        costs.stem + sum(costs.blocks[: e.block]) + sum(costs.heads[: k + 1]) for k, e in enumerate(run.record.exits)
    ]
    settings = json.loads((run.folder / "thresholds.json").read_text())["policies"][0]["settings"]
    sure = _sure(scores, run)
    val, test = ([_at(sure[split], threshold, ran) for threshold in settings] for split in ("val", "test"))
    budget = 0.5 * costs.baseline
    below = max((t for t in range(len(val)) if val[t][0] <= budget), key=lambda t: val[t][0])
    above = min((t for t in range(len(val)) if val[t][0] > budget), key=lambda t: val[t][0])
    weight = (val[above][0] - budget) / (val[above][0] - val[below][0])
    cost, accuracy = (weight * test[below][i] + (1 - weight) * test[above][i] for i in (0, 1))
    table = drift_table(runs)
    row = table[(table["run_id"] == run.record.run_id) & (table["target"] == 0.5)].iloc[0]
    assert row["macs"] == pytest.approx(cost / costs.baseline, abs=2e-3)
    assert row["accuracy"] == pytest.approx(accuracy, abs=2e-3)
    assert row["drift"] == pytest.approx(2 * row["macs"])
    policy = Configured(name="confidence")
    points = evaluate_policies(Store(smoke.results), run.record, [policy], (), (0.5,), skip_unsupported=False)
    assert points[0]["budget_drift"] == pytest.approx(row["drift"])
    assert points[0]["realised_accuracy"] == pytest.approx(row["accuracy"])


def _sure(scores: dict[str, dict[str, ExitScores]], run: Run) -> dict[str, list[list[tuple[float, bool]]]]:
    """Confidence and correctness of every exit, one list per sample."""
    return {
        split: [
            [
                (max(softmax(logits)), logits.index(max(logits)) == label)
                for logits in split_scores.logits[:, n].tolist()
            ]
            for n, label in enumerate(split_scores.labels.tolist())
        ]
        for split, split_scores in scores[run.record.run_id].items()
    }


def _at(samples: list[list[tuple[float, bool]]], threshold: float, ran: list[int]) -> tuple[float, float]:
    """Mean cost and accuracy at a threshold."""
    cost = right = 0.0
    for exits in samples:
        k = next((k for k, (sure, _) in enumerate(exits[:-1]) if sure > threshold), len(exits) - 1)
        cost, right = cost + ran[k], right + exits[k][1]
    return cost / len(samples), right / len(samples)


def _corners(curve: list[tuple[float, float]]) -> list[int]:
    """The corners of the upper hull: from the cheapest setting, repeatedly the one on the steepest rising line."""
    at = min(range(len(curve)), key=lambda t: (curve[t][0], -curve[t][1]))
    corners = [at]
    while True:
        dearer = [t for t in range(len(curve)) if curve[t][0] > curve[at][0]]
        slope = {t: (curve[t][1] - curve[at][1]) / (curve[t][0] - curve[at][0]) for t in dearer}
        if not slope or max(slope.values()) <= 0:
            return corners
        at = max(slope, key=lambda t: (slope[t], curve[t][0]))
        corners.append(at)


def _height(points: list[tuple[float, float]], budget: float) -> float:
    for (low, below), (high, above) in pairwise(points):
        if low <= budget <= high:
            return below + (above - below) * (budget - low) / (high - low)
    return points[-1][1]


def test_thresholds_are_frozen_on_val(runs: list[Run], scores: dict[str, dict[str, ExitScores]]) -> None:
    for run in runs:
        frozen = json.loads((run.folder / "thresholds.json").read_text())
        assert run.record.data is not None
        assert frozen["val"] == run.record.data.split_identity["val"]
        assert frozen["samples"] == 300
        if run.is_static:
            assert frozen["policies"] == []
            continue
        (policy,) = frozen["policies"]
        chosen = {(point["kind"], point["target"]): point["settings"] for point in policy["points"]}
        for point in run.record.points:
            if point.kind == "accuracy-drop":
                assert [s["threshold"] for s in chosen[point.kind, point.target]] == [
                    setting.threshold for setting in point.settings
                ]
            assert {setting.threshold for setting in point.settings} <= set(policy["settings"])


def test_missing_answers_are_named(runs: list[Run], tmp_path: Path) -> None:
    run = runs[0]
    moved = Run(run.record, run.point_outcomes, run.curves, tmp_path)
    with pytest.raises(StoreError, match=r"answers\.parquet"):
        _ = moved.answers
    path = tmp_path / "answers.parquet"
    pd.DataFrame({"exit": [0]}).to_parquet(path)
    answers = Artifact(path=path.name, sha256=sha256(path), bytes=path.stat().st_size)
    moved = run.changed(record=run.record.model_copy(update={"files": (answers,)}), folder=tmp_path)
    moved.__dict__.pop("answers", None)
    with pytest.raises(StoreError, match=r"answers\.parquet: .*column"):
        _ = moved.answers


def test_scores_equal_those_of_the_predictions(runs: list[Run], scores: dict[str, dict[str, ExitScores]]) -> None:
    for run in runs:
        test = scores[run.record.run_id]["test"]
        order = torch.argsort(test.sample_id)
        assert run.answers.sample_id.tolist() == test.sample_id[order].tolist()
        assert (run.answers.prediction == test.logits.argmax(-1)[:, order].numpy()).all()
