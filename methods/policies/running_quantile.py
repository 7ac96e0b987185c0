"""Thresholds that follow a running quantile of the confidence, so that the cost stays on budget when the images change.

The idea is that of JOLT (BASHLab/jolt-early-exit, 2026; only its README was read): for each exit, compare with the quantile of
the confidences among the samples that reach it, instead of a threshold fixed on val. The update is a stochastic approximation
of a quantile (Robbins and Monro, 1951), in a form of this suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.budgeted import RATIOS, solve
from methods.policies.policy import ExitPolicy, State, checked_logits, confidences
from methods.policies.ranges import Count, NotNegative, Positive, Seed

DECAY = 0.6
"""Exponent of the step size; between 1/2 and 1 the estimate converges."""


@dataclass
class Quantiles:
    """The running estimates of T settings at K - 1 early exits, float64.

    Attributes:
        threshold: q, [T, K - 1].
        count: n, samples behind each estimate, [T, K - 1].
    """

    threshold: np.ndarray
    count: np.ndarray


@dataclass(kw_only=True)
class RunningQuantile(ExitPolicy):
    """Exit k releases a share a_k of the samples that reach it: exit where max p >= q_k.

    `fit` solves the shares as the policy ``budgeted`` does, and starts each q_k at the threshold on val. Every sample that
    reaches exit k with confidence s, whether it exits or not, moves q_k:

        n_k <- n_k + 1,    q_k <- q_k + rate / n_k^0.6 * ((1 - a_k) - [s < q_k]) * r_k,

    where r_k is the interquartile range of the confidence at exit k on val. The decision on a sample therefore depends on the
    samples before it. `sweep` starts from val; `choose` and dynamic inference continue from the samples of dynamic inference.

    Attributes:
        budget: mean cost as a share of the MACs of the backbone without exits, as for ``budgeted``.
        prior: weight of the threshold from val at the start, as a number of images (the first n_k), at least 1.
        rate: step size, at least 0; at 0 the thresholds stay those of val.
        order: seed of a random order in which an evaluation presents the samples of a split; null for their stored order.
    """

    swept = "budget"
    learns = True
    ordered = True

    budget: Positive | None = None
    prior: Count = 100
    rate: NotNegative = 1.0
    order: Seed | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._cost: np.ndarray | None = None  # of the solutions on val, ascending, [Q]
        self._start: np.ndarray | None = None  # thresholds on val, [Q, K - 1]
        self._share: np.ndarray | None = None  # a, [Q, K - 1]
        self._range: np.ndarray | None = None  # r, [K - 1]
        self._stream: Quantiles | None = None  # of dynamic inference, for one setting

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        logits = checked_logits(logits)
        exits, samples, _ = logits.shape
        exit_costs = np.arange(1, exits + 1) / exits if cost is None else np.asarray(cost, dtype=np.float64)
        confidence = confidences(logits[:-1]).numpy()
        costs, thresholds = zip(*(solve(confidence, ratio, exit_costs, samples) for ratio in RATIOS), strict=True)
        order = np.argsort(costs, kind="stable")
        self._cost, self._start = np.asarray(costs)[order], np.stack(thresholds)[order].astype(np.float64)
        self._share = np.stack([_leaving_shares(confidence, row) for row in self._start])
        self._range = np.subtract(*np.quantile(confidence.astype(np.float64), [0.75, 0.25], axis=1))
        self._stream = None
        return self

    def arrival_order(self, samples: int) -> Tensor | None:
        if self.order is None:
            return None
        return torch.randperm(samples, generator=torch.Generator().manual_seed(self.order))

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        """True at the exit that each sample takes, [K - 1, N]."""
        return self.exits(signal, setting) == torch.arange(len(signal), device=signal.device)[:, None]

    def exits(self, signal: Tensor, setting: float) -> Tensor:
        rows = self._rows([setting])
        stream = self._stream if setting == self.budget else None
        start = self._at_start(rows) if stream is None else Quantiles(stream.threshold.copy(), stream.count.copy())
        return self._pass(signal, rows, start)[0]

    def sweep(self, signal: Tensor, settings: Sequence[float] | np.ndarray) -> Tensor:
        rows = self._rows(settings)
        return self._pass(signal, rows, self._at_start(rows))

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """The mean costs of all solutions on val."""
        self._rows([1.0])
        return np.unique(self._cost)  # type: ignore[arg-type]

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        rows = self._rows([self.required_setting()])
        if self._stream is None:
            self._stream = self._at_start(rows)
        values = confidences(logits).double().cpu().numpy()
        leave = [self._decide(exit_index, value, rows, self._stream, np.ones(1, bool))[0] for value in values]
        return torch.tensor(leave, dtype=torch.bool, device=logits.device)

    def _pass(self, signal: Tensor, rows: np.ndarray, quantiles: Quantiles) -> Tensor:
        """The exits of all samples, in their order, under T settings, [T, N]; updates ``quantiles``."""
        exits = np.full((len(rows), signal.shape[1]), len(signal))
        for k, values in enumerate(signal.double().cpu().numpy()):
            reached = exits == len(signal)
            for n, value in enumerate(values):
                leave = self._decide(k, value, rows, quantiles, reached[:, n])
                exits[leave, n] = k
        return torch.from_numpy(exits).to(signal.device)

    def _decide(self, k: int, value: float, rows: np.ndarray, quantiles: Quantiles, reached: np.ndarray) -> np.ndarray:
        """Whether a sample with this confidence exits at exit k under each setting, [T]; updates those that it ``reached``."""
        assert self._share is not None
        assert self._range is not None
        threshold, count = quantiles.threshold[:, k], quantiles.count[:, k]
        passes = value >= threshold
        count += reached
        step = self.rate / count**DECAY * self._range[k]
        threshold += np.where(reached, step * (passes - self._share[rows, k]), 0.0)
        return passes & reached

    def _at_start(self, rows: np.ndarray) -> Quantiles:
        assert self._start is not None
        start = self._start[rows]
        return Quantiles(start, np.full(start.shape, float(self.prior)))

    def _rows(self, budgets: Sequence[float] | np.ndarray) -> np.ndarray:
        """The solution of each budget: the dearest that does not exceed it, or the cheapest, [T]."""
        if self._cost is None:
            raise ValueError("running-quantile: call fit(logits, cost=...) on val first")
        affordable = np.searchsorted(self._cost, np.asarray(budgets) * (1 + 1e-12), side="right")
        return np.maximum(affordable - 1, 0)


def _leaving_shares(confidence: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of the samples reaching each exit that leave there, [K - 1]; 0 at an exit that no sample reaches."""
    remaining = np.ones(confidence.shape[1], dtype=bool)
    shares = np.zeros(len(thresholds))
    for k, (values, threshold) in enumerate(zip(confidence, thresholds, strict=True)):
        leaving = remaining & (values >= threshold)
        shares[k] = leaving.sum() / max(remaining.sum(), 1)
        remaining &= ~leaving
    return shares
