"""Exit where the gates of JEI-DNN, which break a stick, leave little of it (Regol et al., ICLR 2024, arXiv 2310.09163)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability

LEFT = "stick_left"
"""Key of the state: 1 minus the sum of the earlier gates, (B,)."""


@dataclass(kw_only=True)
class JEI(ThresholdPolicy):
    """Exit at the first exit whose gate takes at least the share ``threshold`` of what earlier gates left of 1.

    With gates g, the share is g_k / (1 - sum of earlier g), at most 1; it is 1 where nothing is left. A gate is 1 minus the
    predicted error probability of the exit.

    Attributes:
        threshold: in [0, 1]; the paper's is 0.5, and its budget depends on the training alone. Other values are an extension.
    """

    strict = False
    reads_gates = True

    threshold: Probability | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._errors: Tensor | None = None

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        if errors is None:
            raise ValueError("jei reads the learned gate of an exit, and these exits have none")
        copy = replace(self)
        copy._errors = errors
        return copy

    def signal(self, logits: Tensor) -> Tensor:
        if self._errors is None or self._errors.shape[1] != logits.shape[1]:
            raise ValueError("jei: call with_context(errors=...) with the gates' predictions for these samples first")
        errors = self._errors.to(logits.device).float()
        left, shares = torch.ones_like(errors[0]) if len(errors) else None, []
        for error in errors:
            assert left is not None
            share, left = taken(error, left)
            shares.append(share)
        return torch.stack(shares) if shares else errors

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {LEFT: torch.ones(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        if "error" not in state:
            raise ValueError("jei reads the learned gate of an exit, and this exit has none")
        share, state[LEFT] = taken(state["error"].float(), state[LEFT])
        return self.leave(share, self.required_setting())


def taken(error: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """The share of the stick that a gate takes, at most 1, and what is left after it; (B,) each."""
    gate = 1 - error
    share = torch.where(left > 0, (gate / left).clamp(max=1), torch.ones_like(gate))
    return share, left - gate
