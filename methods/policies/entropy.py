"""Leave when certain: the entropy of the softmax falls below a threshold (BranchyNet, DeeBERT; strictly smaller)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, entropies


@dataclass(kw_only=True)
class Entropy(ThresholdPolicy):
    """Leave at the first exit with entropy < threshold.

    Attributes:
        threshold: in nats, or in [0, 1] when normalised; at 0 none leaves early.
        normalised: entropy as a share of its largest value, ln C.
        guarded: whether p ln p is 0 at p = 0. The official LGViT code computes it as it stands: a softmax that reaches 0 has no
            entropy there, and its sample stays (D14 of docs/discrepancies.md).
    """

    above = False

    threshold: float | None = None
    normalised: bool = False
    guarded: bool = True

    def __post_init__(self) -> None:
        check_entropy_threshold("entropy", self.threshold)

    def signal(self, logits: Tensor) -> Tensor:
        return self.entropies(logits[:-1])

    def entropies(self, logits: Tensor) -> Tensor:
        """Logits [..., C] to [...]; infinite, so that none leaves, where the official code has no number."""
        found = entropies(logits, self.normalised)
        if self.guarded:
            return found
        return found.masked_fill((logits.float().softmax(-1) == 0).any(-1), float("inf"))

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(self.entropies(logits), self.chosen())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return entropy_ends(classes, self.normalised)


def check_entropy_threshold(policy: str, threshold: float | None) -> None:
    """
    Raises:
        ValueError: no entropy can be below it.
    """
    if threshold is not None and not 0 <= threshold < np.inf:
        raise ValueError(f"{policy}: threshold is an entropy from 0, not {threshold}")


def entropy_ends(classes: int, normalised: bool) -> tuple[float, float]:
    """A little more than the largest entropy, so that a uniform softmax is below it, and 0."""
    return (1.0 if normalised else float(np.log(classes))) * (1 + 1e-5), 0.0
