"""One policy, two drivers: `choose` folds a policy over stored logits, `start` and `step` run it inside inference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ExitPolicy(ABC):
    """When a sample leaves. K exits, the final head included and last; N samples; C classes.

    The final head always answers, so a policy speaks of the K - 1 early exits only.

    Attributes:
        setting: the threshold in force; None until one is chosen.
    """

    setting: float | None

    @abstractmethod
    def signal(self, logits: Tensor) -> Tensor:
        """What is compared with a setting, free of it: logits [K, N, C] to [K - 1, N] in float32.

        Entry k may depend on exits up to k of the same sample only.
        """

    @abstractmethod
    def leave(self, signal: Tensor, setting: float) -> Tensor:
        """Where the signal says go: a bool mask of the signal's shape."""

    @abstractmethod
    def default_grid(self, signal: Tensor) -> np.ndarray:
        """Settings worth a look, from the signal [K - 1, N] on val; ordered from the earliest to the latest leaving."""

    def exits(self, signal: Tensor, setting: float) -> Tensor:
        """The first exit at which each sample leaves, [N], 0-based; K - 1 where none says go."""
        leave = self.leave(signal, setting)
        return torch.where(leave.any(0), leave.int().argmax(0), len(leave))

    def choose(self, logits: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Exit index [N], 0-based over the K exits, and predicted class [N] under `setting`."""
        logits = torch.as_tensor(logits)
        exits = self.exits(self.signal(logits), self._set())
        samples = torch.arange(logits.shape[1], device=logits.device)
        return exits, logits.argmax(-1)[exits, samples]

    def start(self, batch: int) -> Any:
        """The state of ``batch`` samples before the first exit; None for a policy without memory."""
        return None

    @abstractmethod
    def step(self, exit_index: int, logits: Tensor, state: Any) -> Tensor:
        """At an early exit: logits (B, C) of the samples still running to a bool mask (B,) of those that leave."""

    def _set(self) -> float:
        if self.setting is None:
            raise ValueError(f"{type(self).__name__} has no threshold yet")
        return self.setting
