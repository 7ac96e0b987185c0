"""Sweeps and tables of a detection, whose metric needs the boxes of all images together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.evaluation.box_evidence import BoxDecisions
from benchmark.evaluation.evaluate import accuracies, prepare
from benchmark.evaluation.redraw import redraw
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import decide, without_exits
from results.spec import Configured
from results.stats.average_precision import average_precision
from tests.detection_runs import POLICY, invented_scores
from tests.invented_runs import EXITS, costs_of

BLOCKS = [*EXITS, 12]


@pytest.fixture(scope="module")
def scores() -> ExitScores:
    return invented_scores("val", 0, BLOCKS)


def decided(scores: ExitScores, count: int = 20) -> BoxDecisions:
    policy, settings = prepare(Configured(name=POLICY), scores, costs_of(EXITS, 12))
    decisions = decide(policy, scores, settings[:: max(1, len(settings) // count)])
    assert isinstance(decisions, BoxDecisions)
    return decisions


def test_a_sweep_has_twenty_settings_with_both_ends(scores: ExitScores) -> None:
    policy, settings = prepare(Configured(name=POLICY), scores, costs_of(EXITS, 12))
    grid = registry.configured("policy", POLICY, {}).default_grid(scores.logits)
    assert len(settings) == 20 < len(grid)
    assert (settings[0], settings[-1]) == (grid[0], grid[-1])
    swept = decide(policy, scores, settings).sweep()
    assert swept.accuracy[-1] == pytest.approx(accuracies(scores)[-1])  # nobody leaves early at the highest threshold
    assert (swept.low < swept.accuracy).all()
    assert (swept.accuracy < swept.high).all()


def test_draws_are_scored_by_the_boxes_of_their_images(scores: ExitScores) -> None:
    decisions, images = decided(scores, 4), len(scores.labels)
    assert decisions.draws == 100
    chosen = np.arange(0, images, 2)
    times = np.zeros((images, 1))
    times[chosen] = 1
    half = scores.part(torch.from_numpy(chosen))
    again = decide(registry.configured("policy", POLICY, {}), half, decisions.settings)
    for t, found in enumerate(decisions.metric_of_draws(times)[:, 0]):
        assert found == pytest.approx(again.values(t).mean())


def test_draws_without_a_labelled_box_have_no_part_in_an_interval(scores: ExitScores) -> None:
    assert scores.detections is not None
    counts = scores.detections.truth_offsets.diff().numpy()
    few = scores.part(
        torch.from_numpy(np.concatenate([np.flatnonzero(counts > 1)[:3], np.flatnonzero(counts == 0)[:5]]))
    )
    on_val = decided(scores, 4)
    on_test = decide(registry.configured("policy", POLICY, {}), few, on_val.settings)
    references = [without_exits(part, part) for part in (scores, few)]
    found = redraw(on_val, on_test, references, costs_of(EXITS, 12), BLOCKS, [1.0])
    assert np.isfinite(found[1.0].drop).all()


def test_values_belong_to_the_samples_in_any_order(scores: ExitScores) -> None:
    decisions, turned = decided(scores, 4), scores.part(torch.arange(len(scores.labels)).flip(0))
    again = decide(registry.configured("policy", POLICY, {}), turned, decisions.settings)
    for t in range(len(decisions.settings)):
        assert again.values(t)[::-1] == pytest.approx(decisions.values(t), abs=1e-12)
    assert accuracies(turned) == accuracies(scores)
    assert without_exits(turned, scores).values(0) == pytest.approx(without_exits(scores, scores).values(0))


def test_the_final_exit_alone_is_the_reference(scores: ExitScores) -> None:
    final = without_exits(scores, scores)
    assert isinstance(final, BoxDecisions)
    assert final.values(0).mean() == pytest.approx(accuracies(scores)[-1])
    assert average_precision(final.matches, np.zeros(len(scores.labels), int)) == pytest.approx(accuracies(scores)[-1])
