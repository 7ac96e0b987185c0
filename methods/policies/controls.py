"""Controls, not methods: what a perfect policy would reach with these heads, and what chance reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import ExitPolicy, State, ThresholdPolicy, probability


@dataclass(kw_only=True)
class Oracle(ExitPolicy):
    """Leaves at the first exit that classifies correctly; a sample that no exit classifies correctly leaves at the first.

    It needs the labels (`with_context`). Without them it leaves at the first exit that predicts what the full model predicts:
    no policy that keeps the full model's predictions is cheaper. It reads later exits and cannot run inside inference.
    """

    causal = False

    def __post_init__(self) -> None:
        self._labels: Tensor | None = None

    @property
    def setting(self) -> float:
        """A constant: the oracle has no parameter."""
        return 0.0

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        """A copy with the labels [N] of the samples it decides on next."""
        copy = replace(self)
        copy._labels = None if labels is None else torch.as_tensor(labels)
        return copy

    def signal(self, logits: Tensor) -> Tensor:
        answers = logits.argmax(-1)
        target = answers[-1] if self._labels is None else self._labels.to(logits.device)
        right = answers == target
        right[0] |= ~right.any(0)
        return right[:-1].float()

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal > 0

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        return np.zeros(1)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        raise TypeError("the oracle needs the labels, so it cannot run inside inference")


@dataclass(kw_only=True)
class Random(ThresholdPolicy):
    """Leaves at each early exit with the same probability, whatever the exits say.

    A sample's chance is a hash of its logits at the first exit, so that the same sample is always treated alike, in any
    order and any batch.

    Attributes:
        probability: of leaving at an exit that was reached, in [0, 1].
    """

    swept = "probability"
    above = False

    probability: float | None = None

    def __post_init__(self) -> None:
        probability("random", "probability", self.probability)

    def signal(self, logits: Tensor) -> Tensor:
        """The probability beyond which a sample has left by each exit."""
        chance = hashed_uniform(logits[0])
        return torch.stack([_needed(chance, k) for k in range(len(logits))])[:-1]

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"chance": torch.zeros(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        if exit_index == 0:
            state["chance"] = hashed_uniform(logits)
        return self.leave(_needed(state["chance"], exit_index), self.chosen())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return 1.0, 0.0


def _needed(chance: Tensor, exit_index: int) -> Tensor:
    return 1 - (1 - chance) ** (1 / (exit_index + 1))


def hashed_uniform(logits: Tensor) -> Tensor:
    """A number in [0, 1) that looks random, from the bits of a sample's logits: (N, C) to float32 (N,)."""
    bits = logits.float().contiguous().view(torch.int32).long()
    position = torch.arange(bits.shape[1], device=bits.device) * 0x9E3779B97F4A7C1
    mixed = _mix(bits + position).sum(-1)  # integers wrap around
    return (_mix(mixed) & (2**24 - 1)).float() / 2**24


def _mix(value: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al., 2014), on signed integers."""
    value = (value ^ (value >> 30)) * -4658895280553007687
    value = (value ^ (value >> 27)) * -7723592293110705685
    return value ^ (value >> 31)
