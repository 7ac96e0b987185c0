"""The signals that summarise a map of patches for policies, compared with examples by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.api import SEGMENTATION
from methods.policies.map_signals import SIGNALS, _share, map_signals
from methods.tasks import get_task

TASK = get_task(SEGMENTATION)


def map_of(largest: list[float], classes: int = 2) -> torch.Tensor:
    """A map of logits (1, C, 2, 4), float64, whose patches have these largest probabilities; the others are equal."""
    probability = torch.tensor(largest, dtype=torch.float64).view(1, 1, 2, 4)
    others = ((1 - probability) / (classes - 1)).expand(1, classes - 1, 2, 4)
    return torch.cat([probability, others], 1).log()


def test_signals_of_a_map() -> None:
    m = [0.99, 0.95, 0.90, 0.60, 0.40, 0.97, 0.85, 0.99]
    for dtype in (
        torch.float64,
        torch.float32,
    ):  # the bound itself counts: 5 of the 8 values are at least 0.9, 4 above it
        assert _share(torch.tensor([m], dtype=dtype), 0.9) == 0.625
    p = np.array(m) + 1e-12  # a softmax would give some values at a bound as less
    signals = dict(zip(SIGNALS, map_signals(map_of(p.tolist(), classes=4), None)[0].tolist(), strict=True))
    assert signals["mean"] == pytest.approx(0.83125)
    assert signals["quantile"] == pytest.approx(0.7875)
    assert [signals[f"share-{percent}"] for percent in (80, 90, 95)] == [0.75, 0.625, 0.5]
    assert signals["margin"] == pytest.approx(np.mean(p - (1 - p) / 3))
    nats = -(p * np.log(p) + (1 - p) * np.log((1 - p) / 3))
    assert signals["entropy"] == pytest.approx(1 - np.mean(nats) / np.log(4))
    assert signals["agreement"] == 0.0


def test_shares_and_agreement_jump_where_a_map_differs_by_a_rounding_error() -> None:
    bounds, before = np.array([0.5, 0.8, 0.9, 0.95, 0.7, 0.7, 0.7, 0.7]), map_of([0.7] * 8)
    below, above = (map_signals(map_of((bounds + error).tolist()), before)[0] for error in (-1e-6, 1e-6))
    jumps = (above - below).abs() > 1e-4
    assert jumps.nonzero()[:, 0].tolist() == sorted(TASK.jumping_signals)


def test_signals_that_are_not_read_are_left_out() -> None:
    maps, before = torch.randn(2, 3, 5, 4, 4)
    whole = map_signals(maps, before)
    for position in range(len(SIGNALS)):
        alone = map_signals(maps, before, (position,))
        assert torch.equal(alone[:, position], whole[:, position])
        assert torch.count_nonzero(alone, dim=0).count_nonzero() <= 1


def test_a_share_counts_patches_at_the_bound() -> None:
    at_the_bound = torch.tensor([0.9, 0.9, 0.9, 0.1]).view(1, 1, 2, 2)
    logits = torch.cat([at_the_bound, 1 - at_the_bound], 1).double().log()
    confidence = logits.softmax(1).amax(1)
    share = map_signals(logits, None)[0, SIGNALS.index("share-90")]
    assert share == (confidence >= 0.9).double().mean()


def test_agreement_is_the_share_of_patches_with_the_class_of_the_exit_before() -> None:
    before, now = (
        F.one_hot(torch.tensor([[classes]]), 3).movedim(3, 1).float() for classes in ([0, 1, 2, 0], [0, 1, 1, 1])
    )
    assert map_signals(now, before)[0, SIGNALS.index("agreement")] == 0.5
