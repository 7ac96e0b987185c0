"""Thresholds lie between observed values: a rounding error of the softmax changes no decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.policies import POLICIES
from methods.policies.policy import ThresholdPolicy, between

F64 = torch.float64


@pytest.mark.parametrize("name", ["confidence", "margin", "entropy"])
def test_a_rounding_error_decides_on_no_sample(name: str) -> None:
    logits = 3 * torch.randn(4, 400, 10, generator=torch.Generator().manual_seed(0))
    policy: Any = POLICIES[name].load()()
    assert isinstance(policy, ThresholdPolicy)
    settings = policy.default_grid(logits)[1:-1]  # the ends are those of the range
    signal = policy.signal(logits)
    exits = policy.sweep(signal, settings)
    for direction in (0.0, 2.0):
        moved = torch.nextafter(signal, torch.full_like(signal, direction))
        assert torch.equal(policy.sweep(moved, settings), exits)


@given(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_a_threshold_moves_to_the_middle_of_its_gap(observed: list[float], thresholds: list[float]) -> None:
    values = np.unique(observed)
    moved = between(torch.tensor(observed, dtype=F64), torch.tensor(thresholds, dtype=F64)).numpy()
    if len(values) == 1:
        assert moved.tolist() == thresholds
        return
    middles = (values[1:] + values[:-1]) / 2
    assert set(moved) <= set(middles)
    for threshold, middle in zip(thresholds, moved, strict=True):
        # Samples strictly between the threshold and its new place: none, but for thresholds beyond the ends.
        if values[0] < threshold <= values[-1]:
            low, high = sorted((threshold, middle))
            assert not ((values > low) & (values < high)).any()


def test_budgeted_thresholds_lie_between_confidences() -> None:
    logits = 3 * torch.randn(4, 300, 10, generator=torch.Generator().manual_seed(1))
    policy: Any = POLICIES["budgeted"].load()()
    policy.fit(logits)
    confidence = policy.signal(logits)
    for budget in policy.default_grid(logits)[1:]:
        exits = policy.exits(confidence, float(budget))
        assert torch.equal(
            policy.exits(torch.nextafter(confidence, torch.zeros_like(confidence)), float(budget)), exits
        )
