"""Policies whose answer combines all exits up to the current one; a sample exits at a high confidence of the answer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, confidences
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class Combined(ThresholdPolicy):
    """Exit at the first exit where the largest probability of the combined answer is > threshold.

    A subclass defines `combine`. Both drivers call it exit by exit, so they compute the same bits.

    Attributes:
        threshold: in [0, 1].
    """

    threshold: Probability | None = None

    @abstractmethod
    def combine(self, exit_index: int | None, logits: Tensor, state: State) -> Tensor:
        """The logits (B, C) of the answer at an exit, float32; updates ``state``.

        Args:
            exit_index: 0-based; None at the final exit.
            logits: of this exit, (B, C).
            state: what earlier calls stored for the same samples.
        """

    def answers(self, logits: Tensor) -> Tensor:
        state = self.start(logits.shape[1], logits.device)
        early = [self.combine(k, exit_logits, state) for k, exit_logits in enumerate(logits[:-1])]
        return torch.stack([*early, self.combine(None, logits[-1], state)])

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(self.answers(logits)[:-1])

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        state["answer"] = self.combine(exit_index, logits, state)
        return self.leave(confidences(state["answer"]), self.required_setting())

    def answer(self, logits: Tensor, state: State) -> Tensor:
        return state["answer"]

    def finish(self, logits: Tensor, state: State) -> Tensor:
        state["answer"] = self.combine(None, logits, state)
        return state["answer"].argmax(-1)
