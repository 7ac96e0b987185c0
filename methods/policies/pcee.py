"""Leave when certain several times in a row (PCEE-BERT, Zhang et al., NAACL Findings 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.entropy import check_entropy_threshold, entropy_ends
from methods.policies.patience import check_patience
from methods.policies.policy import State, ThresholdPolicy, entropies


@dataclass(kw_only=True)
class PCEE(ThresholdPolicy):
    """Leave at the first exit that ends a run of ``patience`` successive exits with entropy < threshold.

    The answers need not agree.

    Attributes:
        threshold: as a share of ln C, or in nats when not normalised; at 0 none leaves early.
        patience: length of the run, from 1.
        normalised: the original's entropy / ln C; False is the LGViT port's entropy in nats.
    """

    above = False

    threshold: float | None = None
    patience: int = 2
    normalised: bool = True

    def __post_init__(self) -> None:
        check_entropy_threshold("pcee", self.threshold)
        check_patience("pcee", self.patience)

    def signal(self, logits: Tensor) -> Tensor:
        """The largest entropy among the last ``patience`` exits; infinite before there are so many."""
        entropy = entropies(logits[:-1], self.normalised)
        worst = torch.full_like(entropy, torch.inf)
        if len(entropy) >= self.patience:
            worst[self.patience - 1 :] = entropy.unfold(0, self.patience, 1).amax(-1)
        return worst

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"run": torch.zeros(batch, dtype=torch.int64, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        certain = self.leave(entropies(logits, self.normalised), self.chosen())
        state["run"] = torch.where(certain, state["run"] + 1, 0)
        return state["run"] >= self.patience

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return entropy_ends(classes, self.normalised)
