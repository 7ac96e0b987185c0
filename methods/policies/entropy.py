"""Exit when the entropy of the softmax is strictly below a threshold (BranchyNet, DeeBERT)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, entropies
from methods.policies.ranges import NotNegative


@dataclass(kw_only=True)
class Entropy(ThresholdPolicy):
    """Exit at the first exit with entropy < threshold.

    Attributes:
        threshold: in nats, or in [0, 1] if normalised; at 0 no sample exits early.
        normalised: whether the entropy is divided by its maximum, ln C.
        guarded: whether p ln p is defined as 0 at p = 0. If False, as in the official LGViT code, the entropy of a softmax that
            contains 0 is undefined, and the sample does not exit (D14 in docs/discrepancies.md).
    """

    above = False

    threshold: NotNegative | None = None
    normalised: bool = False
    guarded: bool = True

    def signal(self, logits: Tensor) -> Tensor:
        return self.entropies(logits[:-1])

    def entropies(self, logits: Tensor) -> Tensor:
        """Logits [..., C] to entropies [...]; infinite where unguarded entropy is undefined, so that the sample stays."""
        values = entropies(logits, self.normalised)
        if self.guarded:
            return values
        return values.masked_fill((logits.float().softmax(-1) == 0).any(-1), float("inf"))

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(self.entropies(logits), self.required_setting())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return entropy_ends(classes, self.normalised)


def entropy_ends(classes: int, normalised: bool) -> tuple[float, float]:
    """Slightly more than the maximum entropy, so that all samples are below it, and 0."""
    return (1.0 if normalised else float(np.log(classes))) * (1 + 1e-5), 0.0
