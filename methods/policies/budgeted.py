"""Thresholds per exit that meet a mean cost on val (MSDNet's budgeted batch classification, Huang et al., ICLR 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.policy import ExitPolicy, State, checked_logits, confidences
from methods.policies.ranges import Positive

# Ratios q between the shares of consecutive exits: MSDNet's range with a five times smaller step.
RATIOS = np.arange(5, 196) / 100


@dataclass(kw_only=True)
class Budgeted(ExitPolicy):
    """Exit k has one confidence threshold, solved on val so that a share s_k of the samples, rounded down, exits there.

    The shares form a geometric sequence, s_k ~ q^k, with one solution per ratio q. Exit by exit, the most confident
    remaining samples of val exit until the share is reached; the threshold lies between their lowest confidence and the
    next lower one. The policy uses the solution with the largest mean cost on val that does not exceed the budget, or the
    cheapest solution if all exceed it.

    Attributes:
        budget: mean cost as a share of the MACs of the backbone without exits; where `fit` is called from Python without costs,
            as a share of the exits.
    """

    swept = "budget"
    learns = True

    budget: Positive | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._cost: np.ndarray | None = None  # ascending, [Q]
        self._thresholds: Tensor | None = None  # [Q, K - 1]

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        logits = checked_logits(logits)
        exits, samples, _ = logits.shape
        exit_costs = np.arange(1, exits + 1) / exits if cost is None else np.asarray(cost, dtype=np.float64)
        confidence = confidences(logits[:-1]).numpy()
        mean_costs, thresholds = zip(*(solve(confidence, ratio, exit_costs, samples) for ratio in RATIOS), strict=True)
        order = np.argsort(mean_costs, kind="stable")
        self._cost = np.asarray(mean_costs)[order]
        self._thresholds = torch.from_numpy(np.stack(thresholds)[order]).float()
        return self

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal >= self._row(setting, signal.device)[:, None]

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """The mean costs of all solutions on val."""
        self._row(1.0, torch.device("cpu"))
        assert self._cost is not None
        return np.unique(self._cost)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return confidences(logits) >= self._row(self.required_setting(), logits.device)[exit_index]

    def _row(self, budget: float, device: torch.device) -> Tensor:
        """The thresholds [K - 1] for a budget."""
        if self._cost is None or self._thresholds is None:
            raise ValueError("budgeted: call fit(logits, cost=...) on val first")
        affordable = int(np.searchsorted(self._cost, budget * (1 + 1e-12), side="right"))
        return self._thresholds[max(affordable - 1, 0)].to(device)


def solve(confidence: np.ndarray, ratio: float, exit_costs: np.ndarray, samples: int) -> tuple[float, np.ndarray]:
    """Mean cost and thresholds [K - 1] for one ratio; ``confidence`` is [K - 1, N], ``exit_costs`` [K]."""
    shares = ratio ** np.arange(1, len(exit_costs) + 1)
    shares = shares / shares.sum()
    thresholds = np.full(len(confidence), np.inf)
    remaining = np.ones(samples, dtype=bool)
    total_cost = 0.0
    for k, row in enumerate(confidence):
        count = min(math.floor(shares[k] * samples + 1e-9), int(remaining.sum()))  # MSDNet's code floors
        if count:
            values = np.unique(row[remaining])
            lowest = np.sort(row[remaining])[-count]
            below = values[values < lowest]
            # Between two observed values; see `methods.policies.policy.between`.
            thresholds[k] = (below[-1] + lowest) / 2 if len(below) else lowest
        exiting = remaining & (row >= thresholds[k])  # samples with equal confidence exit together
        total_cost += exiting.sum() * exit_costs[k]
        remaining &= ~exiting
    return (total_cost + remaining.sum() * exit_costs[-1]) / samples, thresholds
