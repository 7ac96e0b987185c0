"""Bootstrap of val and test: intervals of operating points that include the choice of the threshold on val."""

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
ENDS = (2.5, 97.5)  # percentiles of the draws at the ends of the 95 % interval


@dataclass(frozen=True)
class _Draws:
    """All T settings of a policy on D bootstrap draws of a split.

    Attributes:
        accuracy: accuracy on the draw, [T, D].
        macs: mean MACs, [T, D].
        block: mean exit block, [T, D].
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
    """Bootstrap val and test together: a setting is chosen on each draw of val and applied to a draw of test.

    The grid of settings and the fitted parameters of the policy are those of the original val split.

    Args:
        policy: the policy, fitted on val if it learns from val.
        scores: scores of the run by split.
        static: scores of the backbone without exits on the same samples.
        settings: [T].
        costs: cost table of the run.
        blocks: block number of each exit, length K.
        drops: permitted accuracy drops on val.

    Returns:
        the intervals by drop, without drops that fewer than 95 % of the draws reach.
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

    Sums of integers in float64 are exact, so they do not depend on the order of additions.
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
        is_correct = (bound.predictions(logits) == labels).gather(0, exit_taken).numpy()
        for total, values in zip(sums, (is_correct.astype(np.float64), *at_exit[:, exit_taken.numpy()]), strict=True):
            total += values @ times[start : start + CHUNK]
    order = torch.argsort(static.sample_id)[torch.argsort(torch.argsort(scores.sample_id))]  # of the run's samples
    static_correct = (static.logits[-1].argmax(-1) == static.labels)[order].numpy().astype(np.float64)
    accuracy, macs, block = sums / samples
    return _Draws(accuracy, macs, block, static_correct @ times / samples)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, ENDS)
    return float(low), float(high)
