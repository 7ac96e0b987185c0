"""The networks of EENet: a score for each exit, and the share of each sample that each exit should take.

Source: Ilhan et al., WACV 2024 (arXiv 2301.07099), from the formulas; see `methods.policies.eenet`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

HIDDEN = 0.5
"""Width of the assigner's hidden layer over that of its input."""


def features(probabilities: Tensor) -> Tensor:
    """The probabilities of an exit [..., C], their maximum, and 1 - entropy / ln C: [..., C + 2]."""
    entropy = torch.special.entr(probabilities).sum(-1) / math.log(probabilities.shape[-1])
    return torch.cat([probabilities, probabilities.amax(-1)[..., None], (1 - entropy)[..., None]], -1)


class Scheduler(nn.Module):
    """The score and the assigner of every exit, in double precision.

    Exit k (0-based) reads X_k: the C + 2 `features` of its probabilities and the k scores of the exits before, without their
    gradients. Score: a linear function of X_k without bias. Assigner: Linear, sigmoid, Linear, and a sigmoid if ``assigner`` is
    ``sigmoid``; a softmax of its outputs over the exits gives the shares.

    The score starts as the mean of the maximum, the normalised certainty and the earlier scores, which lies in [0, 1]; outside,
    the clamped score of training has no gradient.
    """

    def __init__(self, exits: int, classes: int, assigner: Literal["sigmoid", "linear"]) -> None:
        super().__init__()
        self.assigner = assigner
        widths = [classes + 2 + k for k in range(exits)]
        starts = [torch.cat([torch.zeros(classes), torch.full((2 + k,), 1 / (2 + k))]).double() for k in range(exits)]
        self.score_weights = nn.ParameterList(nn.Parameter(start) for start in starts)
        self.assigners = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, max(1, int(width * HIDDEN))), nn.Sigmoid(), nn.Linear(max(1, int(width * HIDDEN)), 1)
            ).double()
            for width in widths
        )

    def score(self, exit_index: int, own: Tensor, past: Tensor) -> Tensor:
        """The score of one exit, (B,), from its `features` (B, C + 2) and the earlier scores (B, k)."""
        return (torch.cat([own, past], -1) * self.score_weights[exit_index]).sum(-1)

    def scores(self, probabilities: Tensor, *, clamped: bool = False) -> Tensor:
        """The scores of the first exits, probabilities [K, N, C] to [K, N]; ``clamped`` to [0, 1] as in training."""
        scores: list[Tensor] = []
        for k, exit_probabilities in enumerate(probabilities):
            score = self.score(k, features(exit_probabilities), self._past(scores, exit_probabilities))
            scores.append(score.clamp(0, 1) if clamped else score)
        return torch.stack(scores)

    def shares(self, probabilities: Tensor) -> Tensor:
        """The share of every exit for every sample, probabilities [K, N, C] of all exits to [K, N]."""
        scores = self.scores(probabilities, clamped=True)
        outputs = [
            self.assigners[k](torch.cat([features(p), self._past(list(scores[:k]), p)], -1))[:, 0]
            for k, p in enumerate(probabilities)
        ]
        assigned = torch.stack(outputs)
        return (assigned.sigmoid() if self.assigner == "sigmoid" else assigned).softmax(0)

    def _past(self, scores: list[Tensor], like: Tensor) -> Tensor:
        return torch.stack(scores, -1).detach() if scores else like.new_empty(len(like), 0)


def thresholds_for(scores: Tensor, shares: Tensor) -> Tensor:
    """The threshold of every exit, [K]: exit k releases the floor(N share_k) samples left with the largest scores.

    Args:
        scores: [K, N].
        shares: of all samples, [K].

    Returns:
        the smallest score that exits; infinite at an exit that releases none, and 0 at the last.
    """
    samples = scores.shape[1]
    remaining = torch.ones(samples, dtype=torch.bool)
    thresholds = torch.zeros(len(scores), dtype=torch.float64)
    for k in range(len(scores) - 1):
        count = min(math.floor(float(shares[k]) * samples + 1e-9), int(remaining.sum()))
        thresholds[k] = scores[k][remaining].sort(descending=True).values[count - 1] if count else torch.inf
        remaining &= ~(scores[k] >= thresholds[k])
    return thresholds
