"""The running quantile: its update by hand, its stationary point, and the cost on images of another kind than val."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.policies import get_policy
from methods.policies.budgeted import Budgeted
from methods.policies.running_quantile import Quantiles, RunningQuantile
from tests.methods.test_policies import online

COST = np.array([0.3, 0.6, 1.0])


def sample(count: int, sharpness: float, seed: int) -> Tensor:
    """Logits of three exits, [3, count, 4]; the larger the sharpness, the more confident."""
    return sharpness * torch.randn(3, count, 4, generator=torch.Generator().manual_seed(seed))


def test_the_update_by_hand() -> None:
    """Threshold 0.5, target share 0.25, range 0.2, prior 1: after 0.4 (stays) and 0.9 (leaves)."""
    policy = RunningQuantile(budget=1.0, prior=1)
    policy._share, policy._range = np.array([[0.25]]), np.array([0.2])
    quantiles, rows, reached = Quantiles(np.array([[0.5]]), np.array([[1.0]])), np.zeros(1, int), np.ones(1, bool)
    assert not policy._decide(0, 0.4, rows, quantiles, reached)[0]
    first = 0.5 - 0.2 / 2**0.6 * 0.25  # (1 - 0.25) - 1 = -0.25
    assert quantiles.threshold[0, 0] == pytest.approx(first)
    assert policy._decide(0, 0.9, rows, quantiles, reached)[0]
    assert quantiles.threshold[0, 0] == pytest.approx(first + 0.2 / 3**0.6 * 0.75)
    assert quantiles.count[0, 0] == 3
    policy._decide(0, 0.9, rows, quantiles, np.zeros(1, bool))  # a sample that does not reach the exit changes nothing
    assert quantiles.count[0, 0] == 3


def test_with_a_rate_of_zero_it_is_the_policy_budgeted() -> None:
    val, test = sample(2000, 2.0, 0), sample(500, 1.5, 1)
    fixed = get_policy("running-quantile", budget=0.6, rate=0).fit(val, cost=COST)
    assert torch.equal(fixed.choose(test)[0], Budgeted(budget=0.6).fit(val, cost=COST).choose(test)[0])


def test_the_cost_stays_on_budget_when_the_confidences_change() -> None:
    val, shifted = sample(2000, 2.0, 0), sample(4000, 1.0, 1)
    drift = {}
    for name in ("budgeted", "running-quantile"):
        exits, _ = get_policy(name, budget=0.6).fit(val, cost=COST).choose(shifted)
        drift[name] = COST[exits.numpy()].mean() / 0.6
    assert drift["budgeted"] > 1.3
    assert abs(drift["running-quantile"] - 1) < 0.08


def test_batches_of_dynamic_inference_continue_one_stream() -> None:
    val, test = sample(300, 2.0, 2), sample(90, 1.0, 3)
    policy = get_policy("running-quantile", budget=0.6, prior=5, rate=2).fit(val, cost=COST)
    whole, _ = copy.deepcopy(policy).choose(test)
    parts = []
    for part in test.split(20, dim=1):
        before = copy.deepcopy(policy)
        parts.append(online(policy, part)[0])
        assert torch.equal(parts[-1], before.choose(part)[0])
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(policy.choose(test)[0], whole)  # it continues after the samples seen


def test_an_order_is_a_permutation_that_its_seed_fixes() -> None:
    policy = get_policy("running-quantile", order=3)
    order = policy.arrival_order(50)
    assert order is not None
    assert order.sort().values.tolist() == list(range(50))
    assert torch.equal(order, policy.arrival_order(50))  # type: ignore[arg-type]
    assert get_policy("running-quantile").arrival_order(50) is None
