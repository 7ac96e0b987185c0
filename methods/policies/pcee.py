"""Exit when several consecutive exits have low entropy (PCEE-BERT, Zhang et al., NAACL Findings 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.entropy import entropy_ends
from methods.policies.policy import State, ThresholdPolicy, entropies
from methods.policies.ranges import Count, NotNegative


@dataclass(kw_only=True)
class PCEE(ThresholdPolicy):
    """Exit at the last of the first ``patience`` consecutive exits with entropy < threshold.

    These exits may predict different classes.

    Attributes:
        threshold: in [0, 1] if normalised, otherwise in nats; at 0 no sample exits early.
        patience: number of consecutive exits, at least 1.
        normalised: whether the entropy is divided by ln C, as in the original; False is the LGViT port's entropy in nats.
    """

    above = False

    threshold: NotNegative | None = None
    patience: Count = 2
    normalised: bool = True

    def signal(self, logits: Tensor) -> Tensor:
        """The largest entropy of the last ``patience`` exits; infinite at the first ``patience`` - 1 exits."""
        entropy = entropies(logits[:-1], self.normalised)
        largest = torch.full_like(entropy, torch.inf)
        if len(entropy) >= self.patience:
            largest[self.patience - 1 :] = entropy.unfold(0, self.patience, 1).amax(-1)
        return largest

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"run": torch.zeros(batch, dtype=torch.int64, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        is_below = self.leave(entropies(logits, self.normalised), self.required_setting())
        state["run"] = torch.where(is_below, state["run"] + 1, 0)
        return state["run"] >= self.patience

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return entropy_ends(classes, self.normalised)
