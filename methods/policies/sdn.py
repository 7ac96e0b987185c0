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

    def answers(self, logits: Tensor) -> Tensor:
        most_confident = confidences(logits).argmax(0)
        last = logits[most_confident, torch.arange(logits.shape[1], device=logits.device)]
        return torch.cat([logits[:-1], last[None]])

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        confidence = self._keep_most_confident(logits, state)
        state["answer"] = logits
        return self.leave(confidence, self.required_setting())

    def answer(self, logits: Tensor, state: State) -> Tensor:
        return state["answer"]

    def finish(self, logits: Tensor, state: State) -> Tensor:
        self._keep_most_confident(logits, state)
        state["answer"] = state["most_confident"]
        return state["answer"].argmax(-1)

    def _keep_most_confident(self, logits: Tensor, state: State) -> Tensor:
        """Store the logits of the most confident exit so far, the first one of several; the confidence of this exit."""
        confidence = confidences(logits)
        if "most_confident" in state:
            is_higher = confidence > state["confidence"]
            logits = torch.where(is_higher[:, None], logits, state["most_confident"])
            state["confidence"] = torch.where(is_higher, confidence, state["confidence"])
        else:
            state["confidence"] = confidence
        state["most_confident"] = logits
        return confidence
