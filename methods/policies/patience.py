"""Leave when the answer is stable: successive exits agree (PABEE, Zhou et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy


@dataclass(kw_only=True)
class Patience(ThresholdPolicy):
    """Leave at the first exit at which the count of agreeing exits reaches ``patience``.

    Attributes:
        patience: a whole number from 1.
        counting: ``pabee``, the original: the first exit counts 0, an exit that agrees with the one before adds 1, another
            resets to 0, so that patience + 1 exits agree. ``lgvit``, the LGViT port: the first exit counts 1 and a change
            resets to 1, so that ``patience`` exits agree.
    """

    swept = "patience"
    strict = False

    patience: int | None = None
    counting: Literal["pabee", "lgvit"] = "pabee"

    def __post_init__(self) -> None:
        check_patience("patience", self.patience)

    def signal(self, logits: Tensor) -> Tensor:
        return streaks(logits[:-1].argmax(-1)) - int(self.counting == "pabee")

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Every patience that can be reached, and one that cannot: then none leaves early."""
        return np.arange(1, len(logits) + 1 - int(self.counting == "pabee"), dtype=np.float64)

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {
            "previous": torch.full((batch,), -1, device=device),
            "streak": torch.zeros(batch, device=device),
        }

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        answer = logits.argmax(-1)
        state["streak"] = torch.where(answer == state["previous"], state["streak"] + 1, 1.0)
        state["previous"] = answer
        return self.leave(state["streak"] - int(self.counting == "pabee"), self.chosen())


def streaks(answers: Tensor) -> Tensor:
    """How many exits in a row, up to each one, gave the answer of that one: classes [K, N] to float32 [K, N], from 1."""
    counts = torch.ones(answers.shape, dtype=torch.float32, device=answers.device)
    for k in range(1, len(answers)):
        counts[k] += counts[k - 1] * (answers[k] == answers[k - 1])
    return counts


def check_patience(policy: str, patience: int | None) -> None:
    """
    Raises:
        ValueError: the patience is no whole number from 1.
    """
    if patience is not None and (patience < 1 or patience != int(patience)):
        raise ValueError(f"{policy}: patience is a whole number from 1, not {patience}")
