"""Exit when the exit's learned gate predicts no error (BERxiT's learning to exit, Xin et al., EACL 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class LearnedGate(ThresholdPolicy):
    """Exit at the first exit whose predicted error probability is < threshold.

    The policy reads the gates' predictions, not the logits: from `with_context` for stored logits, and from the entry
    ``error`` of the state during inference.

    Attributes:
        threshold: in [0, 1].
    """

    above = False
    reads_gates = True

    threshold: Probability | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._errors: Tensor | None = None

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        if errors is None:
            raise ValueError("learned-gate reads the learned gate of an exit, and these exits have none")
        copy = replace(self)
        copy._errors = errors
        return copy

    def signal(self, logits: Tensor) -> Tensor:
        if self._errors is None or self._errors.shape[1] != logits.shape[1]:
            raise ValueError(
                "learned-gate: call with_context(errors=...) with the gates' predictions for these samples first"
            )
        return self._errors.to(logits.device).float()

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        if "error" not in state:
            raise ValueError("learned-gate reads the learned gate of an exit, and this exit has none")
        return self.leave(state["error"], self.required_setting())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return 1.0, 0.0
