"""Leave when the exit's learned gate expects no error (BERxiT's learning to exit, Xin et al., EACL 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy, probability


@dataclass(kw_only=True)
class LearnedGate(ThresholdPolicy):
    """Leave at the first exit whose predicted probability of a wrong answer is < threshold.

    It reads what gates say, not logits: offline they come by `peek`, inside inference as ``error`` in the state.

    Attributes:
        threshold: in [0, 1].
    """

    above = False
    reads_gates = True

    threshold: float | None = None

    def __post_init__(self) -> None:
        probability("learned-gate", "threshold", self.threshold)
        self._errors: Tensor | None = None

    def peek(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        if errors is None:
            raise ValueError("learned-gate reads the gate of an exit, and these exits have none")
        seeing = replace(self)
        seeing._errors = errors
        return seeing

    def signal(self, logits: Tensor) -> Tensor:
        if self._errors is None or self._errors.shape[1] != logits.shape[1]:
            raise ValueError("learned-gate: what the gates say of these samples comes first, by peek")
        return self._errors.to(logits.device).float()

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        if "error" not in state:
            raise ValueError("learned-gate reads the gate of an exit, and this exit has none")
        return self.leave(state["error"], self.chosen())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return 1.0, 0.0
