"""Exit when the summed confidence of agreeing exits is high enough (BEEM, ICLR 2025, arXiv 2502.00745; unweighted)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences
from methods.policies.ranges import NotNegative


@dataclass(kw_only=True)
class BEEM(ThresholdPolicy):
    """Exit when the sum of confidences >= threshold.

    The sum covers consecutive exits that predict the same class. It restarts when the predicted class changes.

    Attributes:
        threshold: at least 0; the sum cannot exceed the number of early exits.
        counting: value at which the sum restarts. ``paper``: the confidence of the exit with the new class. ``released``, as
            in the authors' code: 0, so the first exit of a run of agreeing exits does not count.
    """

    strict = False

    threshold: NotNegative | None = None
    counting: Literal["paper", "released"] = "paper"

    def signal(self, logits: Tensor) -> Tensor:
        sums, predictions = confidences(logits[:-1]), logits[:-1].argmax(-1)
        if self.counting == "released":
            sums[0] = 0.0
        for k in range(1, len(sums)):
            agrees = predictions[k] == predictions[k - 1]
            sums[k] = sums[k - 1] * agrees + self._counted(sums[k], agrees)
        return sums

    def _counted(self, confidence: Tensor, agrees: Tensor) -> Tensor:
        """The confidence that an exit adds to the sum."""
        return confidence * agrees if self.counting == "released" else confidence

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"previous": torch.full((batch,), -1, device=device), "sum": torch.zeros(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        prediction = logits.argmax(-1)
        agrees = prediction == state["previous"]
        state["sum"] = self._counted(confidences(logits), agrees) + state["sum"] * agrees
        state["previous"] = prediction
        return self.leave(state["sum"], self.required_setting())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        """0, and a sum that the early exits cannot reach."""
        return 0.0, float(exits)
