"""Exit when the exit's learned gate predicts no error (BERxiT's learning to exit, Xin et al., EACL 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class GatePolicy(ThresholdPolicy):
    """A policy that reads the predictions of the exits' learned gates, not the logits.

    For stored logits they come from `with_context`, during inference from the entry ``error`` of the state.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._errors: Tensor | None = None

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        if errors is None:
            raise ValueError("the policy reads the learned gate of an exit, and these exits have none")
        copy = replace(self)
        copy._errors = errors
        return copy

    def errors(self, logits: Tensor) -> Tensor:
        """The gates' error probabilities for the samples of logits [K, N, C], float32 [K - 1, N]."""
        if self._errors is None or self._errors.shape[1] != logits.shape[1]:
            raise ValueError("call with_context(errors=...) with the gates' predictions for these samples first")
        return self._errors.to(logits.device).float()


def predicted_errors(state: State) -> Tensor:
    """The error probabilities that the gate of the present exit predicts, (B,)."""
    if "error" not in state:
        raise ValueError("the policy reads the learned gate of an exit, and this exit has none")
    return state["error"]


@dataclass(kw_only=True)
class LearnedGate(GatePolicy):
    """Exit at the first exit whose predicted error probability is < threshold.

    Attributes:
        threshold: in [0, 1].
    """

    above = False

    threshold: Probability | None = None

    def signal(self, logits: Tensor) -> Tensor:
        return self.errors(logits)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(predicted_errors(state), self.required_setting())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return 1.0, 0.0
