"""Exit when enough consecutive exits predict the same class (PABEE, Zhou et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, checked_logits
from methods.policies.ranges import Count


@dataclass(kw_only=True)
class Patience(ThresholdPolicy):
    """Exit at the first exit at which the counter of agreeing exits reaches ``patience``.

    Attributes:
        patience: an integer of at least 1.
        counting: initial value of the counter. The counter increases by 1 if an exit predicts the same class as the previous
            exit, and is reset to its initial value otherwise. ``pabee``, the original, starts at 0: patience + 1 exits must
            agree. ``lgvit``, the LGViT port, starts at 1: ``patience`` exits must agree.
    """

    swept = "patience"
    strict = False

    patience: Count | None = None
    counting: Literal["pabee", "lgvit"] = "pabee"

    def signal(self, logits: Tensor) -> Tensor:
        return streaks(logits[:-1].argmax(-1)) - int(self.counting == "pabee")

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Every patience that can be reached, and the next larger one, at which no sample exits early."""
        return np.arange(1, len(checked_logits(logits)) + 1 - int(self.counting == "pabee"), dtype=np.float64)

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {
            "previous": torch.full((batch,), -1, device=device),
            "streak": torch.zeros(batch, device=device),
        }

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        prediction = logits.argmax(-1)
        state["streak"] = torch.where(prediction == state["previous"], state["streak"] + 1, 1.0)
        state["previous"] = prediction
        return self.leave(state["streak"] - int(self.counting == "pabee"), self.required_setting())


def streaks(predictions: Tensor) -> Tensor:
    """The number of consecutive exits, ending at each exit, that predict its class: classes [K, N] to float32 [K, N]."""
    counts = torch.ones(predictions.shape, dtype=torch.float32, device=predictions.device)
    for k in range(1, len(predictions)):
        counts[k] += counts[k - 1] * (predictions[k] == predictions[k - 1])
    return counts
