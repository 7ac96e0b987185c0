"""Exit at high confidence, else use the most confident prediction (Shallow-Deep Networks, Kaya et al., ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class SDN(ThresholdPolicy):
    """Exit at the first exit with max p >= threshold.

    A sample that takes no early exit gets the most confident prediction of all exits, including the final one. Its cost is
    that of the whole model with all exits.

    Attributes:
        threshold: in [0, 1].
    """

    strict = False

    threshold: Probability | None = None

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def fallback(self, logits: Tensor) -> Tensor:
        """The most confident prediction of all exits, [N]."""
        most_confident = confidences(logits).argmax(0)
        return logits.argmax(-1)[most_confident, torch.arange(logits.shape[1], device=logits.device)]

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {
            "confidence": torch.full((batch,), -1.0, device=device),
            "answer": torch.zeros(batch, dtype=torch.int64, device=device),
        }

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        confidence = confidences(logits)
        is_higher = confidence > state["confidence"]
        state["answer"] = torch.where(is_higher, logits.argmax(-1), state["answer"])
        state["confidence"] = torch.where(is_higher, confidence, state["confidence"])
        return self.leave(confidence, self.required_setting())

    def finish(self, logits: Tensor, state: State) -> Tensor:
        return torch.where(confidences(logits) > state["confidence"], logits.argmax(-1), state["answer"])
