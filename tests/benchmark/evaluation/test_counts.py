"""Sweeps and tables of a task whose metric follows from counts that are summed over images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.evaluation.evaluate import Evaluation, accuracies, evaluate, evaluate_without_exits
from benchmark.evaluation.scores import ExitScores, load_scores, save_scores
from benchmark.evaluation.sweep import decide, without_exits
from benchmark.measure.price import price
from methods.api import SEGMENTATION
from methods.policies.map_signals import SIGNALS, MapConfidence
from results.record import CostTable
from results.spec import Configured
from results.stats.iou import mean_iou
from results.tables.pixel_counts import COUNTS, WITHOUT_EXITS
from results.tables.run import STATIC

CLASSES, BLOCKS = 4, [4, 8, 12]


@pytest.fixture(scope="module")
def costs() -> CostTable:
    method = registry.configured("method", "lgvit", {})
    return price("vit_nano_patch4_28", method, (4, 8), CLASSES, SEGMENTATION)


def scores(samples: int, seed: int, exits: int = 3) -> ExitScores:
    """Invented signals and counts of 64 pixels an image; deeper exits are better, and confident images are easier."""
    rng = np.random.default_rng(seed)
    ease = rng.uniform(size=samples)
    signals = np.clip(ease[None, :, None] + 0.2 * rng.normal(size=(exits, samples, len(SIGNALS))), 0, 1)
    counts = np.zeros((exits, samples, CLASSES, 6), dtype=np.int32)
    for k in range(exits):
        for n in range(samples):
            truth = rng.integers(0, CLASSES, 64)
            is_right = rng.uniform(size=64) < 0.3 + 0.2 * k + 0.3 * ease[n]
            answer = np.where(is_right, truth, rng.integers(0, CLASSES, 64))
            for c in range(CLASSES):
                columns = ((answer == c) & (truth == c), (answer == c) & (truth != c), (answer != c) & (truth == c))
                counts[k, n, c, :3] = [column.sum() for column in columns]
                counts[k, n, c, 3:] = [column[:16].sum() for column in columns]
    ids = torch.arange(samples) + 1000 * seed
    return ExitScores(
        torch.from_numpy(signals).float(), torch.zeros(samples, dtype=torch.int64), ids, None, torch.from_numpy(counts)
    )


def last_of(own: ExitScores) -> ExitScores:
    assert own.counts is not None
    return ExitScores(own.logits[-1:], own.labels, own.sample_id, None, own.counts[-1:])


def test_a_sweep_gives_the_miou_of_the_counts_at_the_exits_taken() -> None:
    own = scores(50, 0)
    assert own.counts is not None
    policy = MapConfidence(score="quantile")
    settings = policy.default_grid(own.logits)
    decisions = decide(policy, own, settings)
    swept = decisions.sweep()
    for t in range(0, len(settings), 20):
        exits, _ = MapConfidence(score="quantile", threshold=float(settings[t])).choose(own.logits)
        summed = own.counts.numpy()[exits.numpy(), np.arange(50), :, :3].sum(0)
        assert swept.accuracy[t] == pytest.approx(float(mean_iou(summed)), abs=1e-12)
        assert swept.low[t] < swept.accuracy[t] < swept.high[t]
        assert decisions.values(t).mean() == pytest.approx(swept.accuracy[t], abs=1e-12)
    assert accuracies(own)[-1] == pytest.approx(swept.accuracy[-1])  # nobody leaves early at the highest threshold


def test_draws_are_scored_by_their_summed_counts() -> None:
    own = scores(30, 1)
    assert own.counts is not None
    policy = MapConfidence()
    settings = policy.default_grid(own.logits)[::40]
    decisions = decide(policy, own, settings)
    drawn = np.random.default_rng(0).integers(0, 30, (5, 30))
    times = np.stack([np.bincount(row, minlength=30) for row in drawn], axis=1).astype(np.float64)
    found = decisions.metric_of_draws(times)
    for t in range(len(settings)):
        for d, row in enumerate(drawn):
            summed = own.counts.numpy()[decisions.exit_taken[t, row], row, :, :3].sum(0)
            assert found[t, d] == pytest.approx(float(mean_iou(summed)), abs=1e-12)


def evaluated(costs: CostTable) -> tuple[Evaluation, dict[str, ExitScores]]:
    own = {"val": scores(60, 2), "test": scores(80, 3)}
    static = {split: last_of(of_split) for split, of_split in own.items()}
    return evaluate(own, static, costs, BLOCKS, [Configured(name="map-confidence")]), own


def test_the_tables_hold_exits_and_counts_and_no_labels(costs: CostTable) -> None:
    evaluation, own = evaluated(costs)
    assert own["test"].counts is not None
    assert set(evaluation.outcomes) == {"point", "threshold", "weight", "sample_id", "exit", "score"}
    assert set(evaluation.corners) == {"policy", "threshold", "sample_id", "exit"}
    assert set(evaluation.outcomes[evaluation.outcomes["point"] == STATIC]["exit"]) == {WITHOUT_EXITS}
    answers = evaluation.answers
    assert answers["exit"].unique().tolist() == [WITHOUT_EXITS, 0, 1, 2]
    by_exit = answers.groupby("exit")[list(COUNTS)].sum()
    expected = own["test"].counts.sum((1, 2)).numpy()
    assert (by_exit.loc[[0, 1, 2]].to_numpy() == expected).all()
    assert (by_exit.loc[WITHOUT_EXITS].to_numpy() == expected[-1]).all()


def test_points_state_miou_and_its_interval_over_val_and_test(costs: CostTable) -> None:
    evaluation, _ = evaluated(costs)
    reached = [point for point in evaluation.points if point.test is not None]
    assert {point.kind for point in reached} == {"accuracy-drop", "equal-macs"}
    assert any(point.redrawn is not None for point in reached)
    for point in reached:
        assert point.test is not None
        rows = evaluation.curves[(evaluation.curves["split"] == "test")].set_index("threshold")["accuracy"]
        mixed = sum(setting.weight * rows[setting.threshold] for setting in point.settings)
        assert point.test.accuracy == pytest.approx(mixed, abs=1e-12)


def test_a_model_without_exits_has_one_point() -> None:
    method = registry.configured("method", "truncated", {"depth": 6})
    costs = price("vit_nano_patch4_28", method, (), CLASSES, SEGMENTATION)
    own = {"val": last_of(scores(20, 4)), "test": last_of(scores(20, 5))}
    evaluation = evaluate_without_exits(own, own, costs)
    (point,) = evaluation.points
    assert point.test is not None
    assert point.test.accuracy == pytest.approx(accuracies(own["test"])[0])
    outcomes = evaluation.outcomes.set_index("point")["exit"]
    assert set(outcomes[point.name]) == {0}  # its own exit, not the backbone without exits
    assert set(outcomes[STATIC]) == {WITHOUT_EXITS}


def test_the_backbone_is_aligned_by_sample_id() -> None:
    own = scores(20, 6)
    turned = ExitScores(
        own.logits.flip(1),
        own.labels,
        own.sample_id.flip(0),
        None,
        own.counts.flip(1) if own.counts is not None else None,
    )
    assert (without_exits(turned, own).values(0) == without_exits(own, own).values(0)).all()


def test_counts_are_stored_and_read(tmp_path: Path) -> None:
    path = tmp_path / "val.safetensors"
    own = scores(10, 7)
    save_scores(own, path)
    again = load_scores(path)
    assert own.counts is not None
    assert again.counts is not None
    assert torch.equal(again.counts, own.counts)
    assert again.errors is None
