"""Operating points on val and test images that are drawn anew: how much a result depends on the val images that chose its
threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.decisions import CHUNK, Decisions
from results.operating_point import Redrawn
from results.record import CostTable
from results.stats.curves import cheapest_within_drop

SEED = 0
ENDS = (2.5, 97.5)
"""Percentiles of the draws at the ends of a 95 % interval."""


def redraw(
    val: Decisions,
    test: Decisions,
    static: Sequence[Decisions],
    costs: CostTable,
    blocks: Sequence[int],
    drops: Sequence[float],
) -> dict[float, Redrawn]:
    """Bootstrap of val and test together: on each draw of val every drop chooses its setting again, which is then applied to a
    draw of test. The grid of settings and the fitted parameters of the policy stay.

    Args:
        val: of all settings.
        test: of the same settings.
        static: the backbone without exits on the samples of val and of test (`benchmark.evaluation.sweep.without_exits`).
        costs: of the run.
        blocks: block number of every exit, length K.
        drops: accuracy drops to allow on val.

    Returns:
        by drop; without those that fewer than 95 % of the draws reach.
    """
    rng, count = np.random.default_rng(SEED), val.draws
    on_val, on_test = (
        _draw(rng, decisions, reference, costs, blocks)
        for decisions, reference in zip((val, test), static, strict=True)
    )
    intervals = {}
    for drop in drops:
        chosen = [
            cheapest_within_drop(on_val.accuracy[:, d], on_val.macs[:, d], float(on_val.static[d]), drop)
            for d in range(count)
        ]
        # A draw of a detection has no metric where it has no labelled box.
        draws = np.flatnonzero(np.array([t is not None for t in chosen]) & np.isfinite(on_test.static))
        if len(draws) < 0.95 * count:
            continue
        at = np.array([chosen[d] for d in draws], dtype=np.int64), draws
        intervals[drop] = Redrawn(
            drop=_interval(on_test.static[draws] - on_test.accuracy[at]),
            layer_speedup=_interval(blocks[-1] / on_test.block[at]),
            mac_speedup=_interval(costs.baseline / on_test.macs[at]),
        )
    return intervals


@dataclass(frozen=True)
class _Draws:
    """All settings of a policy on D bootstrap draws of a split.

    Attributes:
        accuracy: [T, D].
        macs: mean over the images of a draw, [T, D].
        block: likewise the number of the last block, [T, D].
        static: accuracy of the backbone without exits, [D].
    """

    accuracy: np.ndarray
    macs: np.ndarray
    block: np.ndarray
    static: np.ndarray


def _draw(
    rng: np.random.Generator, decisions: Decisions, static: Decisions, costs: CostTable, blocks: Sequence[int]
) -> _Draws:
    """All settings on bootstrap draws of a split."""
    samples = decisions.exit_taken.shape[1]
    drawn = rng.integers(0, samples, (decisions.draws, samples))
    times = np.stack([np.bincount(row, minlength=samples) for row in drawn], axis=1).astype(np.float64)  # [N, D]
    at_exit = np.array([costs.cumulative, blocks], dtype=np.float64)
    sums = np.zeros(())
    for start in range(0, samples, CHUNK):
        chunk = slice(start, start + CHUNK)
        sums = sums + at_exit[:, decisions.exit_taken[:, chunk]] @ times[chunk]
    macs, block = sums / samples
    return _Draws(decisions.metric_of_draws(times), macs, block, static.metric_of_draws(times)[0])


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, ENDS)
    return float(low), float(high)
