"""Every setting of a policy on stored scores at once: accuracy and exit shares, in chunks of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.evaluation.scores import ExitScores
from methods.policies.policy import ExitPolicy, checked

# Bounds the memory beyond the scores themselves: some 200 settings x 2,000 samples, and 9 x 2,000 x 1,000 probabilities.
CHUNK = 2_000


@dataclass(frozen=True)
class Sweep:
    """Every setting of a policy on one split.

    Attributes:
        settings: [T].
        accuracy: share of right answers, [T].
        shares: of samples that leave at each exit, [T, K].
        samples: N.
    """

    settings: np.ndarray
    accuracy: np.ndarray
    shares: np.ndarray
    samples: int

    def mean(self, at_exit: Sequence[float]) -> np.ndarray:
        """The mean over samples of something that depends on the exit taken, [T]."""
        return self.shares @ np.asarray(at_exit, dtype=np.float64)


def sweep(policy: ExitPolicy, scores: ExitScores, settings: np.ndarray) -> Sweep:
    """Run every setting over a split.

    Args:
        policy: fitted on val, if it learns.
        scores: of the split.
        settings: [T], in any order.

    Raises:
        ValueError: the scores have a wrong shape or hold NaN.
    """
    exits, samples, _ = scores.logits.shape
    right = torch.zeros(len(settings), dtype=torch.int64)
    taken = torch.zeros(len(settings), exits, dtype=torch.int64)
    rows = exits * torch.arange(len(settings))[:, None]
    for start in range(0, samples, CHUNK):
        part = scores.part(slice(start, start + CHUNK))
        logits, labels = checked(part.logits), part.labels
        deciding = policy.with_context(labels, part.errors)
        left = deciding.sweep(deciding.signal(logits), settings)
        correct = deciding.answers(logits) == labels
        right += correct.gather(0, left).sum(1)
        taken += torch.bincount((left + rows).flatten(), minlength=taken.numel()).view_as(taken)
    return Sweep(settings, right.numpy() / samples, taken.numpy() / samples, samples)
