"""The drop at a fixed speed-up, on made-up predictions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from results.tables.fixed_speedup import cost_shares, drop_at_speedup
from results.tables.outcomes import HullOutcomes
from results.tables.run import STATIC


def made_up_run(right: np.ndarray, exits: np.ndarray, static: np.ndarray) -> Any:
    """A run of 12 blocks with one early exit after block 6, whose head costs 1 of the 12 MACs."""
    train = SimpleNamespace(exits=(6,))
    costs = SimpleNamespace(blocks=(1,) * 12, cumulative=(7, 13), baseline=12)
    return SimpleNamespace(
        record=SimpleNamespace(spec=SimpleNamespace(train=train), costs=costs, depth=12),
        hull_outcomes={"p": HullOutcomes(np.arange(len(static)), right, exits)},
        point_outcomes={STATIC: SimpleNamespace(values=static)},
    )


STATIC_RIGHT = np.array([1, 1, 1, 1.0])
# The first setting sends all four through; the second lets all leave early, with one mistake.
RUN = made_up_run(np.array([[1, 1, 1, 1], [0, 1, 1, 1]], bool), np.array([[1, 1, 1, 1], [0, 0, 0, 0]]), STATIC_RIGHT)


def test_costs() -> None:
    assert cost_shares(RUN.record, "layer").tolist() == [0.5, 1.0]
    assert cost_shares(RUN.record, "mac").tolist() == [7 / 12, 13 / 12]


def test_the_settings_beside_the_speed_up_are_mixed() -> None:
    assert drop_at_speedup(RUN, "p", "layer", 2.0).tolist() == [1, 0, 0, 0]
    assert drop_at_speedup(RUN, "p", "layer", 1.0).tolist() == [0, 0, 0, 0]
    between = drop_at_speedup(RUN, "p", "layer", 4 / 3)  # 0.75 of the blocks: half of each
    assert between.mean() == pytest.approx(0.125)


def test_a_speed_up_out_of_reach() -> None:
    assert drop_at_speedup(RUN, "p", "layer", 2.1) is None
    assert drop_at_speedup(RUN, "no such policy", "layer", 1.5) is None
    assert drop_at_speedup(RUN, "p", "mac", 12 / 14).tolist() == [0, 0, 0, 0]  # every setting is faster


def test_the_variance_includes_that_of_the_mixture() -> None:
    """Over random test sets, the standard deviation of the drop equals that computed from the samples of one set."""
    rng = np.random.default_rng(0)
    drops, errors = [], []
    for _ in range(400):
        hard = rng.random(500) < 0.4
        early = rng.random(500) < np.where(hard, 0.2, 0.9)
        exits = np.array([np.ones(500, int), np.where(early, 0, 1)])
        right = np.array([rng.random(500) < 0.95, np.where(early, rng.random(500) < 0.7, True)])
        drop = drop_at_speedup(made_up_run(right, exits, np.ones(500)), "p", "layer", 1.25)
        drops.append(drop.mean())
        errors.append(drop.std(ddof=1) / np.sqrt(500))
    assert np.std(drops) == pytest.approx(np.mean(errors), rel=0.12)
