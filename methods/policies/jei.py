"""Exit where the gates of JEI-DNN, which break a stick, leave little of it (Regol et al., ICLR 2024, arXiv 2310.09163)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.policies.learned_gate import GatePolicy, predicted_errors
from methods.policies.policy import State
from methods.policies.ranges import Probability

LEFT = "stick_left"
"""Key of the state: 1 minus the sum of the earlier gates, (B,)."""


@dataclass(kw_only=True)
class JEI(GatePolicy):
    """Exit at the first exit whose gate, divided by 1 minus the sum of the earlier gates, is at least ``threshold``.

    With gates g, the share is g_k / (1 - sum of earlier g), at most 1; it is 1 where nothing is left. A gate is 1 minus the
    predicted error probability of the exit.

    Attributes:
        threshold: in [0, 1]; the paper's is 0.5, and its budget depends on the training alone. Other values are an extension.
    """

    strict = False

    threshold: Probability | None = None

    def signal(self, logits: Tensor) -> Tensor:
        errors = self.errors(logits)
        left, shares = torch.ones(errors.shape[1], device=errors.device), []
        for error in errors:
            share, left = taken(error, left)
            shares.append(share)
        return torch.stack(shares) if shares else errors

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {LEFT: torch.ones(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        share, state[LEFT] = taken(predicted_errors(state).float(), state[LEFT])
        return self.leave(share, self.required_setting())


def taken(error: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """The share of the stick that a gate takes, at most 1, and what is left after it; (B,) each."""
    gate = 1 - error
    share = torch.where(left > 0, (gate / left).clamp(max=1), torch.ones_like(gate))
    return share, left - gate
