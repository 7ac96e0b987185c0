"""Exit when val accuracy at a similar confidence is high enough (performance-control PCEE, arXiv 2412.19325)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import (
    State,
    ThresholdPolicy,
    between,
    checked_labels,
    checked_logits,
    confidences,
)
from methods.policies.ranges import Probability

BINS = 15


@dataclass(kw_only=True)
class BinAccuracy(ThresholdPolicy):
    """Exit when the confidence bin of the sample has accuracy >= target on val.

    `fit` divides the confidences of each exit on val into 15 bins with equal numbers of samples.

    Attributes:
        target: required accuracy, in [0, 1].
    """

    swept = "target"
    strict = False
    learns = True

    target: Probability | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._edges: Tensor | None = None  # [K - 1, BINS - 1]
        self._accuracy: Tensor | None = None  # [K - 1, BINS]

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        if labels is None:
            raise ValueError("bin-accuracy: fit requires the labels of val")
        logits = checked_logits(logits)
        confidence = confidences(logits[:-1]).double()
        is_correct = (logits[:-1].argmax(-1) == checked_labels(labels, logits)).double()
        cuts = torch.linspace(0, 1, BINS + 1).double()[1:-1]
        quantiles = torch.quantile(confidence, cuts, dim=1).T
        edges = [between(values, row) for values, row in zip(confidence, quantiles, strict=True)]
        self._edges = torch.stack(edges).float() if edges else quantiles.float()
        bins = torch.searchsorted(self._edges, confidence.float().contiguous())
        members = torch.zeros(len(bins), BINS).double().scatter_add_(1, bins, torch.ones_like(is_correct))
        correct = torch.zeros(len(bins), BINS).double().scatter_add_(1, bins, is_correct)
        self._accuracy = (correct / members.clamp(min=1)).float()  # an empty bin has accuracy 0
        return self

    def signal(self, logits: Tensor) -> Tensor:
        edges, accuracy = self._learned(logits.device)
        return accuracy.gather(1, torch.searchsorted(edges, confidences(logits[:-1]).contiguous()))

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        edges, accuracy = self._learned(logits.device)
        bins = torch.searchsorted(edges[exit_index], confidences(logits))
        return self.leave(accuracy[exit_index][bins], self.required_setting())

    def _learned(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._edges is None or self._accuracy is None:
            raise ValueError("bin-accuracy: call fit(logits, labels) on val first")
        return self._edges.to(device), self._accuracy.to(device)
