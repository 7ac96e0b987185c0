"""Control policies, which are not methods: an oracle as the upper bound, and random exits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import ExitPolicy, State, ThresholdPolicy
from methods.policies.ranges import Probability


@dataclass(kw_only=True)
class Oracle(ExitPolicy):
    """Exit at the first exit whose prediction is correct, or at the first exit if no prediction is correct.

    The labels are set by `with_context`. Without labels, a sample exits at the first exit that agrees with the final exit;
    this is the lowest cost of any policy that preserves the full model's predictions. The oracle reads later exits, so it
    cannot run during inference.
    """

    causal = False

    def __post_init__(self) -> None:
        self._labels: Tensor | None = None

    @property
    def setting(self) -> float:
        """A constant: the oracle has no parameter."""
        return 0.0

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> Self:
        """A copy of the policy with the labels [N] of the samples of the next call."""
        copy = replace(self)
        copy._labels = None if labels is None else torch.as_tensor(labels)
        return copy

    def signal(self, logits: Tensor) -> Tensor:
        predictions = logits.argmax(-1)
        targets = predictions[-1] if self._labels is None else self._labels.to(logits.device)
        is_correct = predictions == targets
        is_correct[0] |= ~is_correct.any(0)
        return is_correct[:-1].float()

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal > 0

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        return np.zeros(1)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        raise TypeError("the oracle requires the labels, so it cannot run during inference")


@dataclass(kw_only=True)
class Random(ThresholdPolicy):
    """Exit at each early exit with the same probability, independently of the predictions.

    The random number of a sample is a hash of its logits at the first exit. The decision for a sample is therefore
    independent of the order of samples and of the batch.

    Attributes:
        probability: probability of exiting at each exit that the sample reaches, in [0, 1].
    """

    swept = "probability"
    above = False

    probability: Probability | None = None

    @property
    def compares_exits(self) -> bool:
        return False

    def signal(self, logits: Tensor) -> Tensor:
        """The probability above which a sample has exited at or before each exit."""
        chance = hashed_uniform(logits[0])
        return torch.stack([_needed(chance, k) for k in range(len(logits))])[:-1]

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        return {"chance": torch.zeros(batch, device=device)}

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        if exit_index == 0:
            state["chance"] = hashed_uniform(logits)
        return self.leave(_needed(state["chance"], exit_index), self.required_setting())

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        return 1.0, 0.0


def _needed(chance: Tensor, exit_index: int) -> Tensor:
    """The smallest p at which a sample exits by exit index k, (N,): the solution of 1 - (1 - p)^(k + 1) = chance."""
    return 1 - (1 - chance) ** (1 / (exit_index + 1))


def hashed_uniform(logits: Tensor) -> Tensor:
    """A pseudo-random number in [0, 1) per sample, hashed from the bits of its logits: (N, C) to float32 (N,)."""
    bits = logits.float().contiguous().view(torch.int32).long()
    position = torch.arange(bits.shape[1], device=bits.device) * 0x9E3779B97F4A7C1
    mixed = _mix(bits + position).sum(-1)  # integer overflow wraps around
    return (_mix(mixed) & (2**24 - 1)).float() / 2**24


def _mix(value: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al., 2014), on signed integers."""
    value = (value ^ (value >> 30)) * -4658895280553007687
    value = (value ^ (value >> 27)) * -7723592293110705685
    return value ^ (value >> 31)
