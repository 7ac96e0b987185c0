"""EENet from its formulas: thresholds by hand, the limit of the published assigner, and costs near the budget."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.policies import get_policy
from methods.policies.eenet_net import Scheduler, features, thresholds_for
from tests.methods.test_policies import online

COST = [0.2, 0.5, 0.8, 1.0]


def test_thresholds_by_hand() -> None:
    scores = torch.tensor([
        [0.9, 0.8, 0.1, 0.4, 0.7, 0.3, 0.2, 0.6], [0.2, 0.6, 0.9, 0.3, 0.7, 0.8, 0.5, 0.1], [0.5] * 8,
    ], dtype=torch.float64)  # fmt: skip
    thresholds = thresholds_for(scores, torch.tensor([0.375, 0.25, 0.375]))
    assert thresholds.tolist() == pytest.approx([0.7, 0.8, 0])
    leave = scores >= thresholds[:, None]
    assert leave.int().argmax(0).tolist() == [0, 0, 1, 2, 0, 1, 2, 2]
    none = thresholds_for(
        2 * scores, torch.tensor([0.0, 0.1, 0.9])
    )  # scores above 1 do not pass an exit without a share
    assert none.tolist() == [math.inf, math.inf, 0]


@pytest.mark.parametrize(("exits", "low", "high"), [(4, 0.109, 0.475), (8, 0.050, 0.280), (12, 0.032, 0.198)])
def test_the_published_assigner_bounds_every_share(exits: int, low: float, high: float) -> None:
    probabilities = torch.full((exits, 1, 3), 1 / 3, dtype=torch.float64)
    for assigner, bounded in (("sigmoid", True), ("linear", False)):
        scheduler = Scheduler(exits, 3, assigner)  # type: ignore[arg-type]
        for sign, bound in ((1, high), (-1, low)):
            with torch.no_grad():
                for k, network in enumerate(scheduler.assigners):
                    network[2].weight.zero_()
                    network[2].bias.fill_(sign * (50 if k == 0 else -50))
            share = scheduler.shares(probabilities)[0].item()
            assert (share == pytest.approx(bound, abs=5e-4)) is bounded


def test_features_of_certain_and_even_probabilities() -> None:
    assert features(torch.tensor([1.0, 0.0])).tolist() == [1, 0, 1, 1]
    torch.testing.assert_close(features(torch.tensor([0.5, 0.5])), torch.tensor([0.5, 0.5, 0.5, 0.0]))


def test_a_budget_is_nearly_met_and_both_drivers_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (600,), generator=generator)
    logits = torch.randn(4, 600, 3, generator=generator)
    logits[:, torch.arange(600), labels] += torch.arange(1, 5)[:, None] / 2
    options: Any = {"assigner": "linear", "weight_decay": 0, "epochs": 100, "lr": 0.05}
    for budget in (0.45, 0.7):
        policy, again = (get_policy("eenet", budget=budget, **options).fit(logits, labels, COST) for _ in range(2))
        exits, predictions = policy.choose(logits)
        assert abs(torch.tensor(COST)[exits].mean() - budget) < 0.12 * budget
        assert torch.equal(exits, again.choose(logits)[0])
        for actual, expected in zip(online(policy, logits), (exits, predictions), strict=True):
            assert torch.equal(actual, expected)
