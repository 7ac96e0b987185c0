"""Leave when agreeing exits have gathered enough confidence (BEEM, ICLR 2025, arXiv 2502.00745; unweighted)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences


@dataclass(kw_only=True)
class BEEM(ThresholdPolicy):
    """Confidences add up while the answer stays the same and start anew when it changes; leave when the sum >= threshold.

    Attributes:
        threshold: from 0; the sum cannot exceed the number of early exits.
    """

    strict = False

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < float("inf"):
            raise ValueError(f"beem: threshold is a sum of confidences from 0, not {self.threshold}")

    def signal(self, logits: Tensor) -> Tensor:
        gathered, answers = confidences(logits[:-1]), logits[:-1].argmax(-1)
        for k in range(1, len(gathered)):
            gathered[k] += gathered[k - 1] * (answers[k] == answers[k - 1])
        return gathered

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"previous": torch.full((batch,), -1, device=device), "gathered": torch.zeros(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        answer = logits.argmax(-1)
        state["gathered"] = confidences(logits) + state["gathered"] * (answer == state["previous"])
        state["previous"] = answer
        return self.leave(state["gathered"], self.chosen())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        """0, and more than all early exits can gather."""
        return 0.0, float(exits)
