"""Every headline number of a record, computed again sample by sample from raw scores and cost integers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmark.errors import NotFiniteError
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.scores import ExitScores, load_scores, save_scores
from benchmark.execution.causes import failure_of
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.record import DoneRecord
from results.spec import Configured
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import comparisons, points
from tests.conftest import SmokeRun

METHODS = ["lgvit", "vanilla", "homogeneous-local", "homogeneous-global"]


@pytest.fixture(params=METHODS)
def run(request: pytest.FixtureRequest, smoke: SmokeRun) -> tuple[DoneRecord, dict[str, ExitScores]]:
    store = Store(smoke.results)
    plan = make_plan(load_grid(find_grid("smoke")), store)
    stages = next(stages for stages in plan.runs if stages.spec.train.method.name == request.param)
    scores = {
        split: load_scores(store.artifact(stages.scores.name, f"{split}.safetensors")) for split in ("val", "test")
    }
    return store.record(stages.run_id), scores


def leave(scores: ExitScores, threshold: float) -> tuple[list[int], list[bool]]:
    """Exit and correctness of every sample, one at a time, by the definition."""
    exits, right = [], []
    for n, label in enumerate(scores.labels.tolist()):
        for k, logits in enumerate(scores.logits[:, n].tolist()):
            top = max(logits)
            confidence = 1 / sum(math.exp(value - top) for value in logits)
            if confidence > threshold or k == len(scores.logits) - 1:
                exits.append(k)
                right.append(logits.index(top) == label)
                break
    return exits, right


def test_points_equal_an_independent_computation(run: tuple[DoneRecord, dict[str, ExitScores]]) -> None:
    record, scores = run
    costs = record.costs
    assert costs is not None
    blocks = [exit_.block for exit_ in record.exits]
    assert blocks == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    reached = [point for point in record.points if point.test is not None]
    assert len(reached) >= 4
    for point in reached:
        test = point.test
        assert test is not None
        accuracy = macs = depth = 0.0
        for setting in point.settings:
            exits, right = leave(scores["test"], setting.threshold)
            accuracy += setting.weight * sum(right) / len(right)
            depth += setting.weight * sum(blocks[k] for k in exits) / len(exits)
            # The cost: stem, blocks up to the exit, and every head up to it.
            ran = [costs.stem + sum(costs.blocks[: blocks[k]]) + sum(costs.heads[: k + 1]) for k in exits]
            macs += setting.weight * sum(ran) / len(ran)
        # A confidence within float32 rounding of the threshold may be on either side.
        assert test.accuracy == pytest.approx(accuracy, abs=2e-3)
        assert test.mean_block == pytest.approx(depth, abs=2e-2)
        assert test.mean_macs == pytest.approx(macs, rel=2e-3)
        if point.kind == "equal-macs":
            assert test.mean_macs == pytest.approx(point.target * costs.baseline, rel=1e-9)


def test_drops_are_chosen_on_val_and_are_the_cheapest(run: tuple[DoneRecord, dict[str, ExitScores]]) -> None:
    record, scores = run
    static = scores["val"].logits[-1].argmax(-1).eq(scores["val"].labels).double().mean().item()
    assert record.static_accuracy.val == pytest.approx(static)
    for point in record.points:
        if point.kind == "accuracy-drop" and point.val is not None:
            assert point.val.accuracy >= static - point.target - 1e-9
    depths = [p.val.mean_macs for p in record.points if p.kind == "accuracy-drop" and p.val is not None]
    assert depths == sorted(depths, reverse=True)


def test_the_table_equals_the_record(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    table = points(runs).set_index(["method", "point"])
    for run in runs:
        for point in run.record.points:
            if point.test is None:
                continue
            row = table.loc[(run.method, point.name)]
            assert row["accuracy"] == pytest.approx(point.test.accuracy)
            assert row["low"] <= row["accuracy"] <= row["high"]
            assert row["drop"] == pytest.approx(run.record.static_accuracy.test - point.test.accuracy)
            assert row["layer_speedup"] == pytest.approx(12 / point.test.mean_block)
            assert run.record.costs is not None
            assert row["mac_speedup"] == pytest.approx(run.record.costs.baseline / point.test.mean_macs)


def test_frozen_thresholds_do_not_depend_on_test(run: tuple[DoneRecord, dict[str, ExitScores]]) -> None:
    record, scores = run
    assert record.costs is not None
    blocks = [exit_.block for exit_ in record.exits]
    policies = [Configured(name="confidence"), Configured(name="bin-accuracy"), Configured(name="patience")]
    test = scores["test"]
    other = ExitScores(test.logits.flip(1) * 2, test.labels, test.sample_id)
    frozen = [
        evaluate({"val": scores["val"], "test": test_scores}, scores, record.costs, blocks, policies).thresholds
        for test_scores in (test, other)
    ]
    assert frozen[0] == frozen[1]
    assert [len(policy["points"]) for policy in frozen[0]["policies"]] == [8, 8, 8]


def test_choosing_on_test_is_refused(run: tuple[DoneRecord, dict[str, ExitScores]]) -> None:
    record, scores = run
    assert record.costs is not None
    blocks = [exit_.block for exit_ in record.exits]
    test = scores["test"]
    half = ExitScores(test.logits[:, ::2], test.labels[::2], test.sample_id[::2])
    for val in (test, half):
        with pytest.raises(ValueError, match=r"\d+ of \d+ .*\bval\b"):
            evaluate({"val": val, "test": test}, scores, record.costs, blocks, [Configured(name="confidence")])


def test_intervals_of_speed_ups_and_tests_of_pairs(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    table = points(runs)
    reached = table[table["reached"]]
    for name in ("layer", "mac"):
        bounded = reached[reached[f"{name}_low"].notna()]  # points that all images reach alike have no interval
        assert len(bounded) > len(reached) / 2
        assert (bounded[f"{name}_low"] <= bounded[f"{name}_speedup"] + 1e-9).all()
        assert (bounded[f"{name}_speedup"] <= bounded[f"{name}_high"] + 1e-9).all()
    assert table["official_swin_speedup"].isna().all()  # none of these is a Swin
    pairs = comparisons(runs)
    equal = pairs[pairs["kind"] == "equal-macs"]
    assert equal["p"].between(0, 1).all()
    assert pairs[pairs["kind"] != "equal-macs"]["p"].isna().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_not_stored(tmp_path: Path, value: float) -> None:
    logits = torch.zeros(2, 3, 4)
    logits[1, 2, 3] = value
    scores = ExitScores(logits, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    with pytest.raises(NotFiniteError, match=r"exit 2 .* 1 of 3 samples") as caught:
        save_scores(scores, tmp_path / "test.safetensors")
    assert failure_of(caught.value) == "nan"
    assert not list(tmp_path.iterdir())
