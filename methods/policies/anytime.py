"""Training-free anytime predictors: products of experts, and caching of the most confident exit.

Source: Jazbec et al., "Towards Anytime Classification in Early-Exit Architectures by Enforcing Conditional Monotonicity",
NeurIPS 2023 (arXiv 2306.02652). Written from the formulas; the authors' code was read at metodj/AnytimeClassification e134ae7.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.combined import Combined
from methods.policies.policy import State, checked_logits, confidences


@dataclass(kw_only=True)
class Product(Combined):
    """The answer at exit k is the normalised product over the exits i <= k of a_i^w_i, class by class.

    Computed as a sum of logarithms in double precision, so that it does not overflow.

    Attributes:
        weights: weight of exit i in the product: ``equal`` is 1, ``depth`` is i / K as in the paper; i counts from 1, and K
            includes the final exit.
    """

    weights: Literal["equal", "depth"] = "equal"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._exits: int | None = None

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        """Store K, the number of exits; nothing is learned."""
        self._exits = len(checked_logits(logits))
        return self

    @abstractmethod
    def log_evidence(self, logits: Tensor) -> Tensor:
        """ln a_i of one exit, double (B, C); -inf where a_i is 0."""

    def combine(self, exit_index: int | None, logits: Tensor, state: State) -> Tensor:
        weighted = self._weight(exit_index) * self.log_evidence(logits)
        state["log_product"] = state["log_product"] + weighted if "log_product" in state else weighted
        no_class_left = state["log_product"].isneginf().all(-1, keepdim=True)
        return torch.where(no_class_left, logits.double(), state["log_product"]).log_softmax(-1).float()

    def _weight(self, exit_index: int | None) -> float:
        if self.weights == "equal" or exit_index is None:
            return 1.0
        if self._exits is None:
            raise ValueError("weights by depth require the number of exits: call fit(logits) on val first")
        return (exit_index + 1) / self._exits


@dataclass(kw_only=True)
class ReLUProduct(Product):
    """Products of a_i = max(logits, 0), the paper's predictor.

    A class with a logit <= 0 at any exit has probability 0 from there on. If no class is left, the answer is the exit's own
    softmax.
    """

    def log_evidence(self, logits: Tensor) -> Tensor:
        return logits.double().clamp(min=0).log()


@dataclass(kw_only=True)
class SoftmaxProduct(Product):
    """Products of a_i = softmax(logits), the plain product of experts, in which no class dies."""

    def log_evidence(self, logits: Tensor) -> Tensor:
        return logits.double().log_softmax(-1)


@dataclass(kw_only=True)
class Caching(Combined):
    """The answer at exit k is that of the most confident exit up to k; of two equally confident exits, that of the later one.

    A sample takes the same early exit as under the policy ``confidence``. The difference is at the final exit, where an earlier
    exit's answer can be the more confident one.
    """

    def combine(self, exit_index: int | None, logits: Tensor, state: State) -> Tensor:
        logits, confidence = logits.float(), confidences(logits)
        if "cached" in state:
            is_kept = state["confidence"] > confidence
            logits = torch.where(is_kept[:, None], state["cached"], logits)
            confidence = torch.where(is_kept, state["confidence"], confidence)
        state["cached"], state["confidence"] = logits, confidence
        return logits
