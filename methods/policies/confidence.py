"""Leave when sure: the largest softmax probability exceeds a threshold (LGViT's rule; strictly greater)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import ExitPolicy

GRID_SIZE = 200


@dataclass(kw_only=True)
class Confidence(ExitPolicy):
    """Leave at the first exit with max p > threshold.

    Attributes:
        threshold: in [0, 1]. At 0 every sample leaves at the first exit, at 1 none leaves early.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"confidence: threshold is a probability between 0 and 1, not {self.threshold}")

    @property
    def setting(self) -> float | None:  # type: ignore[override]
        return self.threshold

    def signal(self, logits: Tensor) -> Tensor:
        return logits[:-1].float().softmax(-1).amax(-1)

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal > setting

    def default_grid(self, signal: Tensor) -> np.ndarray:
        """0, quantiles of the largest confidence that each sample reaches so far, pooled over exits, and 1."""
        best_so_far = signal.cummax(0).values.flatten().double()
        quantiles = torch.quantile(
            best_so_far[:: max(1, len(best_so_far) // 2**20)], torch.linspace(0, 1, GRID_SIZE - 2).double()
        )
        return np.unique(np.concatenate([[0.0], quantiles.numpy(), [1.0]]))

    def step(self, exit_index: int, logits: Tensor, state: Any) -> Tensor:
        return self.leave(logits.float().softmax(-1).amax(-1), self._set())
