"""The ensembles of Zero Time Waste: at each early exit a fitted combination of all exits up to it.

Source: Wołczyk et al., NeurIPS 2021 (arXiv 2106.05409); Wójcik et al., Neural Networks 2023. Written from the formulas;
gmum/Zero-Time-Waste was read at commit 8341f3a. The authors fit the ensembles on augmented train images; here they are fitted
on the logits of val, like everything that a policy learns.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.policies.combined import Combined
from methods.policies.policy import State, checked_labels, checked_logits
from methods.policies.ranges import Count, Positive, Seed

BATCH = 64


@dataclass(kw_only=True)
class Ensemble(Combined):
    """An answer for each early exit j from the exits i <= j, with fitted weights exp(w_ji) and a fitted bias per class.

    The final exit has no ensemble. The fit minimises the mean cross-entropy of the exits with AdamW, without weight decay, with
    a cosine schedule and batches of 64.

    Attributes:
        steps: optimizer steps of the fit.
        lr: learning rate at the start of the fit.
        seed: of the initial weights and of the order of the samples.
    """

    learns = True

    steps: Count = 1000
    lr: Positive = 0.005
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._log_weights: Tensor | None = None  # w, [K - 1, K - 1], lower triangular part
        self._bias: Tensor | None = None  # [K - 1, C]

    @abstractmethod
    def members(self, logits: Tensor) -> Tensor:
        """What is combined of each exit; logits [..., C] to double [..., C]."""

    @abstractmethod
    def finished(self, weighted: Tensor, exits: int | Tensor, bias: Tensor) -> Tensor:
        """The logits of the answer from the weighted sum of ``exits`` members and the bias; all [..., C] or broadcast."""

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        if labels is None:
            raise ValueError("ztw: fit requires the labels of val")
        logits = checked_logits(logits)
        targets = checked_labels(labels, logits)
        early, samples, classes = len(logits) - 1, logits.shape[1], logits.shape[2]
        generator = torch.Generator().manual_seed(self.seed)
        weights = (0.01 * torch.randn(early, early, generator=generator, dtype=torch.float64)).requires_grad_()
        bias = torch.zeros(early, classes, dtype=torch.float64, requires_grad=True)
        if early:
            optimizer = torch.optim.AdamW([weights, bias], lr=self.lr, weight_decay=0.0)
            counts = torch.arange(1, early + 1, dtype=torch.float64)[:, None, None]
            order = torch.empty(0, dtype=torch.int64)
            for step in range(self.steps):
                if not len(order):
                    order = torch.randperm(samples, generator=generator)
                batch, order = order[:BATCH], order[BATCH:]
                members = self.members(logits[:-1, batch])
                weighted = (weights.exp().tril()[:, :, None, None] * members).sum(1)
                answers = self.finished(weighted, counts, bias[:, None])
                loss = F.cross_entropy(answers.flatten(0, 1), targets[batch].repeat(early))
                optimizer.param_groups[0]["lr"] = self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._log_weights, self._bias = weights.detach(), bias.detach()
        return self

    def macs(self, exit_index: int, classes: int) -> int:
        return (exit_index + 1) * classes

    def combine(self, exit_index: int | None, logits: Tensor, state: State) -> Tensor:
        if exit_index is None:
            return logits.float()
        if self._log_weights is None or self._bias is None:
            raise ValueError("ztw: call fit(logits, labels) on val first")
        member = self.members(logits)[:, None]
        state["members"] = torch.cat([state["members"], member], 1) if "members" in state else member
        weights = self._log_weights[exit_index].exp().tolist()
        weighted = torch.zeros_like(member[:, 0])
        for i in range(exit_index + 1):  # one after the other: the bits do not depend on the batch
            weighted = weighted + weights[i] * state["members"][:, i]
        return self.finished(weighted, exit_index + 1, self._bias[exit_index].to(logits.device)).float()


@dataclass(kw_only=True)
class GeometricEnsemble(Ensemble):
    """The mean over the exits of exp(w) log softmax(logits), plus the bias: a mean, not a sum, as in the authors' code."""

    def members(self, logits: Tensor) -> Tensor:
        return logits.double().log_softmax(-1)

    def finished(self, weighted: Tensor, exits: int | Tensor, bias: Tensor) -> Tensor:
        return weighted / exits + bias


@dataclass(kw_only=True)
class ArithmeticEnsemble(Ensemble):
    """The logarithm of the normalised sum over the exits of exp(w) softmax(logits), plus exp(bias)."""

    def members(self, logits: Tensor) -> Tensor:
        return logits.double().softmax(-1)

    def finished(self, weighted: Tensor, exits: int | Tensor, bias: Tensor) -> Tensor:
        total = weighted + bias.exp()
        return (total / total.sum(-1, keepdim=True) + 1e-40).log()
