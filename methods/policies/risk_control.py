"""Confidence thresholds that are calibrated on val to bound a risk, with a statistical guarantee.

Conformal risk control (Angelopoulos et al., arXiv 2208.02814) bounds the risk in expectation; learn-then-test (Angelopoulos
et al., arXiv 2110.01052) bounds it with probability 1 - delta. Both test thresholds in order from the safest, at which no
sample exits early, to the riskiest, and stop at the first threshold that fails. They use the last threshold that passed.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from methods.policies.confidence import Confidence
from methods.policies.policy import ExitPolicy, State, checked_labels, checked_logits, confidences
from methods.policies.ranges import Risk


@dataclass(kw_only=True)
class RiskControl(ExitPolicy):
    """Exit at the first exit with max p > the calibrated threshold.

    Attributes:
        risk: upper bound of the risk, in (0, 1).
        loss: the loss whose mean is the risk. ``disagreement``: 1 if the prediction differs from the full model's; requires no
            labels. ``accuracy-gap``: 1 if the full model is correct and the prediction is wrong; its mean bounds the
            decrease in accuracy.
    """

    swept = "risk"
    learns = True

    risk: Risk | None = None
    loss: Literal["disagreement", "accuracy-gap"] = "disagreement"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._thresholds: np.ndarray | None = None  # from the safest, 1, to the riskiest, 0; [T]
        self._risks: np.ndarray | None = None  # empirical, [T]
        self._samples = 0

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        logits = checked_logits(logits)
        predictions = logits.argmax(-1)
        if self.loss == "disagreement":
            losses = predictions != predictions[-1]
        elif labels is None:
            raise ValueError("risk control of the accuracy gap: fit requires the labels of val")
        else:
            is_correct = predictions == checked_labels(labels, logits)
            losses = ~is_correct & is_correct[-1]
        confidence = Confidence()
        self._thresholds = confidence.default_grid(logits)[::-1].copy()
        exits = confidence.sweep(confidence.signal(logits), self._thresholds)
        self._risks = losses.gather(0, exits).double().mean(1).numpy()
        self._samples = logits.shape[1]
        return self

    @abstractmethod
    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        """Whether each threshold passes its own test, bool [T]; ``risks`` [T] are empirical risks over ``samples`` samples."""

    def threshold(self, bound: float) -> float:
        """The riskiest threshold that passes together with all safer ones; if none passes, 1 (no early exits)."""
        if self._thresholds is None or self._risks is None:
            raise ValueError("risk control: call fit(logits, labels) on val first")
        passed = np.logical_and.accumulate(self.certified(self._risks, self._samples, bound))
        return float(self._thresholds[passed.sum() - 1]) if passed.any() else 1.0

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal > self.threshold(setting)

    def sweep(self, signal: Tensor, settings: Any) -> Tensor:
        return Confidence().sweep(signal, [self.threshold(float(setting)) for setting in settings])

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """60 risk bounds from 0.5 down to 0.001, spaced geometrically."""
        return np.geomspace(0.5, 0.001, 60)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(confidences(logits), self.required_setting())


@dataclass(kw_only=True)
class CRC(RiskControl):
    """Conformal risk control: (n R + 1) / (n + 1) <= risk, where R is the largest empirical risk up to the threshold.

    The losses are at most 1.
    """

    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        monotone = np.maximum.accumulate(risks)
        return (samples * monotone + 1) / (samples + 1) <= bound


@dataclass(kw_only=True)
class LTT(RiskControl):
    """Learn then test, fixed sequence: a threshold passes if the Hoeffding-Bentkus p-value of its test is at most delta.

    The null hypothesis of the test is "the risk exceeds the bound".

    Attributes:
        delta: upper bound of the probability that the guarantee fails, in (0, 1).
    """

    delta: Risk = 0.1

    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        return hoeffding_bentkus(risks, samples, bound) <= self.delta


def hoeffding_bentkus(risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
    """P-values of "the true risk exceeds the bound" for mean losses in [0, 1] (Bates et al., arXiv 2101.02703)."""
    from scipy.special import xlogy
    from scipy.stats import binom

    low = np.minimum(risks, bound)
    divergence = xlogy(low, low / bound) + xlogy(1 - low, (1 - low) / (1 - bound))
    hoeffding = np.exp(-samples * divergence)
    # Rounding errors can put a product such as 1000 * 0.029 slightly above the exact integer.
    bentkus = np.e * binom.cdf(np.ceil(samples * risks - 1e-9), samples, bound)
    return np.minimum(np.minimum(hoeffding, bentkus), 1.0)
