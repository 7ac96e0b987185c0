"""Confidence, margin and entropy on calibrated probabilities: one temperature per exit, fitted on val.

Temperature scaling: Guo et al., ICML 2017 (arXiv 1706.04599). Dividing the logits of an exit by its temperature changes the
confidence but not the predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.policies.confidence import Confidence
from methods.policies.entropy import Entropy
from methods.policies.margin import Margin
from methods.policies.policy import ExitPolicy, State, checked_labels, checked_logits

RANGE = (0.05, 20.0)  # search interval for temperatures


class _Scaled(ExitPolicy):
    """Mixin for a policy class, listed before it in the bases. The policy reads logits divided by the exit's temperature."""

    learns = True
    temperatures: Tensor | None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.temperatures = None

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        if labels is None:
            raise ValueError("temperature scaling: fit requires the labels of val")
        logits = checked_logits(logits)
        targets = checked_labels(labels, logits)
        self.temperatures = torch.tensor([_temperature(exit_.float(), targets) for exit_ in logits[:-1]])
        return self

    def signal(self, logits: Tensor) -> Tensor:
        scale = torch.cat([self._fitted(), torch.ones(1)]).to(logits.device)
        return super().signal(logits.float() / scale[:, None, None])  # type: ignore[safe-super]

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        scale = self._fitted()[exit_index].to(logits.device)
        return super().step(exit_index, logits.float() / scale, state)  # type: ignore[safe-super]

    def _fitted(self) -> Tensor:
        if self.temperatures is None:
            raise ValueError("temperature scaling: call fit(logits, labels) on val first")
        return self.temperatures


def _temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature in `RANGE` with the smallest negative log-likelihood; logits (N, C)."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


@dataclass(kw_only=True)
class ScaledConfidence(_Scaled, Confidence):
    """`Confidence` at fitted temperatures."""


@dataclass(kw_only=True)
class ScaledMargin(_Scaled, Margin):
    """`Margin` at fitted temperatures."""


@dataclass(kw_only=True)
class ScaledEntropy(_Scaled, Entropy):
    """`Entropy` at fitted temperatures."""
