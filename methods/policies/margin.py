"""Exit when the two largest softmax probabilities differ by more than a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class Margin(ThresholdPolicy):
    """Exit at the first exit where the largest probability exceeds the second largest by more than the threshold.

    Attributes:
        threshold: in [0, 1].
    """

    threshold: Probability | None = None

    def signal(self, logits: Tensor) -> Tensor:
        return margins(logits[:-1])

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(margins(logits), self.required_setting())


def margins(logits: Tensor) -> Tensor:
    """The largest minus the second largest softmax probability, float32; logits [..., C] to [...]."""
    first, second = logits.float().softmax(-1).topk(2, dim=-1).values.unbind(-1)
    return first - second
