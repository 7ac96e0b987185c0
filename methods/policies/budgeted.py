"""Spend a given budget on average: thresholds per exit, solved on val (MSDNet's budgeted batch, Huang et al., ICLR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import ExitPolicy, State, checked, confidences

# Ratios between the shares of successive exits; MSDNet's range, five times finer.
RATIOS = np.arange(5, 196) / 100


@dataclass(kw_only=True)
class Budgeted(ExitPolicy):
    """Shares of samples fall or rise geometrically from exit to exit, s_k ~ q^k; each exit in turn lets its share of val go,
    the surest first, and its threshold is the confidence of the last one. A budget takes the largest mean cost on val that
    does not exceed it; below the smallest one, the smallest.

    Attributes:
        budget: mean cost, in the unit of the ``cost`` that `fit` was given: by default the share of exits evaluated, in
            the suite the share of the MACs of the backbone without exits.
    """

    swept = "budget"
    learns = True

    budget: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not 0 < self.budget < float("inf"):
            raise ValueError(f"budgeted: budget is a positive mean cost, not {self.budget}")
        self._cost: np.ndarray | None = None  # ascending, [Q]
        self._thresholds: Tensor | None = None  # [Q, K - 1]

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        logits = checked(logits)
        exits, samples, _ = logits.shape
        prices = np.arange(1, exits + 1) / exits if cost is None else np.asarray(cost, dtype=np.float64)
        confidence = confidences(logits[:-1]).numpy()
        spent, thresholds = zip(*(_solve(confidence, ratio, prices, samples) for ratio in RATIOS), strict=True)
        order = np.argsort(spent, kind="stable")
        self._cost = np.asarray(spent)[order]
        self._thresholds = torch.from_numpy(np.stack(thresholds)[order]).float()
        return self

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal >= self._row(setting, signal.device)[:, None]

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """The mean costs on val that the thresholds were solved for."""
        self._row(1.0, torch.device("cpu"))
        assert self._cost is not None
        return np.unique(self._cost)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return confidences(logits) >= self._row(self.chosen(), logits.device)[exit_index]

    def _row(self, budget: float, device: torch.device) -> Tensor:
        """The thresholds of a budget, [K - 1]."""
        if self._cost is None or self._thresholds is None:
            raise ValueError("budgeted: fit(logits, cost=...) on val comes first")
        affordable = int(np.searchsorted(self._cost, budget * (1 + 1e-12), side="right"))
        return self._thresholds[max(affordable - 1, 0)].to(device)


def _solve(confidence: np.ndarray, ratio: float, prices: np.ndarray, samples: int) -> tuple[float, np.ndarray]:
    """Mean cost and thresholds [K - 1] of one ratio; confidence [K - 1, N]."""
    shares = ratio ** np.arange(1, len(prices) + 1)
    shares = shares / shares.sum()
    thresholds = np.full(len(confidence), np.inf)
    staying = np.ones(samples, dtype=bool)
    spent = 0.0
    for k, row in enumerate(confidence):
        release = min(round(shares[k] * samples), int(staying.sum()))
        if release:
            thresholds[k] = np.sort(row[staying])[-release]
        leaving = staying & (row >= thresholds[k])  # ties leave together
        spent += leaving.sum() * prices[k]
        staying &= ~leaving
    return (spent + staying.sum() * prices[-1]) / samples, thresholds
