"""Operating points on val and test images that are drawn anew: how much a result depends on the val images that chose its
threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import CHUNK
from methods.policies.policy import ExitPolicy, checked_logits
from results.record import CostTable, Redrawn
from results.stats.curves import cheapest_within_drop

DRAWS = 400
SEED = 0
ENDS = (2.5, 97.5)
"""Percentiles of the draws at the ends of a 95 % interval."""


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


def redraw(
    policy: ExitPolicy,
    scores: dict[str, ExitScores],
    static: dict[str, ExitScores],
    settings: np.ndarray,
    costs: CostTable,
    blocks: Sequence[int],
    drops: Sequence[float],
) -> dict[float, Redrawn]:
    """Bootstrap of val and test together: on each draw of val every drop chooses its setting again, which is then applied to a
    draw of test. The grid of settings and the fitted parameters of the policy stay.

    Args:
        policy: fitted on val, if it has parameters to fit.
        scores: of the run, by split.
        static: of the backbone without exits, on the same samples.
        settings: [T].
        costs: of the run.
        blocks: block number of every exit, length K.
        drops: accuracy drops to allow on val.

    Returns:
        by drop; without those that fewer than 95 % of the draws reach.
    """
    rng = np.random.default_rng(SEED)
    val, test = (_draw(rng, policy, scores[split], static[split], settings, costs, blocks) for split in ("val", "test"))
    intervals = {}
    for drop in drops:
        chosen = [
            cheapest_within_drop(val.accuracy[:, d], val.macs[:, d], float(val.static[d]), drop) for d in range(DRAWS)
        ]
        draws = np.flatnonzero([t is not None for t in chosen])
        if len(draws) < 0.95 * DRAWS:
            continue
        at = np.array([t for t in chosen if t is not None]), draws
        intervals[drop] = Redrawn(
            drop=_interval(test.static[draws] - test.accuracy[at]),
            layer_speedup=_interval(blocks[-1] / test.block[at]),
            mac_speedup=_interval(costs.baseline / test.macs[at]),
        )
    return intervals


def _draw(
    rng: np.random.Generator,
    policy: ExitPolicy,
    scores: ExitScores,
    static: ExitScores,
    settings: np.ndarray,
    costs: CostTable,
    blocks: Sequence[int],
) -> _Draws:
    """All settings on bootstrap draws of a split.

    Sums of whole numbers in float64 are exact, so they do not depend on the order of additions.
    """
    _, samples, _ = scores.logits.shape
    drawn = rng.integers(0, samples, (DRAWS, samples))
    times = np.stack([np.bincount(row, minlength=samples) for row in drawn], axis=1).astype(np.float64)  # [N, D]
    at_exit = np.array([costs.cumulative, blocks], dtype=np.float64)
    sums = np.zeros((3, len(settings), DRAWS))
    for start in range(0, samples, CHUNK):
        part = scores.part(slice(start, start + CHUNK))
        logits, labels = checked_logits(part.logits), part.labels
        bound = policy.with_context(labels, part.errors)
        exit_taken = bound.sweep(bound.signal(logits), settings)
        is_right = (bound.predictions(logits) == labels).gather(0, exit_taken).numpy()
        for total, values in zip(sums, (is_right.astype(np.float64), *at_exit[:, exit_taken.numpy()]), strict=True):
            total += values @ times[start : start + CHUNK]
    order = torch.argsort(static.sample_id)[torch.argsort(torch.argsort(scores.sample_id))]  # of the run's samples
    static_right = (static.logits[-1].argmax(-1) == static.labels)[order].numpy().astype(np.float64)
    accuracy, macs, block = sums / samples
    return _Draws(accuracy, macs, block, static_right @ times / samples)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, ENDS)
    return float(low), float(high)
