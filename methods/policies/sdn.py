"""Leave when sure, else trust whoever was surest (Shallow-Deep Networks, Kaya et al., ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences, probability


@dataclass(kw_only=True)
class SDN(ThresholdPolicy):
    """Leave at the first exit with max p >= threshold. A sample that reaches the end unsure gets the most confident answer
    of all exits, the final one included, and has paid for all of them.

    Attributes:
        threshold: in [0, 1].
    """

    strict = False

    threshold: float | None = None

    def __post_init__(self) -> None:
        probability("sdn", "threshold", self.threshold)

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def fallback(self, logits: Tensor) -> Tensor:
        surest = confidences(logits).argmax(0)
        return logits.argmax(-1)[surest, torch.arange(logits.shape[1], device=logits.device)]

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {
            "confidence": torch.full((batch,), -1.0, device=device),
            "answer": torch.zeros(batch, dtype=torch.int64, device=device),
        }

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        confidence = confidences(logits)
        surer = confidence > state["confidence"]
        state["answer"] = torch.where(surer, logits.argmax(-1), state["answer"])
        state["confidence"] = torch.where(surer, confidence, state["confidence"])
        return self.leave(confidence, self.chosen())

    def finish(self, logits: Tensor, state: State) -> Tensor:
        return torch.where(confidences(logits) > state["confidence"], logits.argmax(-1), state["answer"])
