"""Exit when the largest softmax probability is strictly greater than a threshold (LGViT's rule)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class Confidence(ThresholdPolicy):
    """Exit at the first exit with max p > threshold.

    Attributes:
        threshold: in [0, 1]. At 0 all samples exit at the first exit; at 1 none exits early.
    """

    threshold: Probability | None = None

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(confidences(logits), self.required_setting())
