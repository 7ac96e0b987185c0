"""Leave as early as a stated risk allows: a confidence threshold calibrated on val with a guarantee.

Conformal risk control (Angelopoulos et al., arXiv 2208.02814) bounds the risk in expectation; learn-then-test (Angelopoulos
et al., arXiv 2110.01052) with probability 1 - delta. Both walk from the safest threshold, at which nobody leaves, towards the
riskiest, and keep the last one that is certified together with all before it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.confidence import Confidence
from methods.policies.policy import ExitPolicy, State, checked, confidences


@dataclass(kw_only=True)
class RiskControl(ExitPolicy):
    """Leave at the first exit with max p > the calibrated threshold.

    Attributes:
        risk: the bound, in (0, 1).
        loss: what is bounded. ``disagreement``: the answer differs from the full model's; needs no labels.
            ``accuracy-gap``: the full model is right and the answer wrong, which bounds the loss of accuracy.
    """

    swept = "risk"
    learns = True

    risk: float | None = None
    loss: Literal["disagreement", "accuracy-gap"] = "disagreement"

    def __post_init__(self) -> None:
        _open_unit(type(self).__name__.lower(), "risk", self.risk)
        self._thresholds: np.ndarray | None = None  # from the safest, 1, to the riskiest, 0; [T]
        self._risks: np.ndarray | None = None  # empirical, [T]
        self._samples = 0

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Any = None) -> Self:
        logits = checked(logits)
        answers = logits.argmax(-1)
        if self.loss == "disagreement":
            lost = answers != answers[-1]
        elif labels is None:
            raise ValueError("risk control of the accuracy gap: fit needs the labels of val")
        else:
            right = answers == torch.as_tensor(labels)
            lost = ~right & right[-1]
        confidence = Confidence()
        self._thresholds = confidence.default_grid(logits)[::-1].copy()
        exits = confidence.sweep(confidence.signal(logits), self._thresholds)
        self._risks = torch.stack([lost.gather(0, row[None])[0].double().mean() for row in exits]).numpy()
        self._samples = logits.shape[1]
        return self

    @abstractmethod
    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        """Which thresholds pass on their own, bools [T]; risks [T] are empirical, over ``samples`` samples."""

    def threshold(self, bound: float) -> float:
        """The riskiest threshold that is certified with all safer ones; 1, at which nobody leaves, if none is."""
        if self._thresholds is None or self._risks is None:
            raise ValueError("risk control: fit(logits, labels) on val comes first")
        passed = np.logical_and.accumulate(self.certified(self._risks, self._samples, bound))
        return float(self._thresholds[passed.sum() - 1]) if passed.any() else 1.0

    def signal(self, logits: Tensor) -> Tensor:
        return confidences(logits[:-1])

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        return signal > self.threshold(setting)

    def sweep(self, signal: Tensor, settings: Any) -> Tensor:
        return Confidence().sweep(signal, [self.threshold(float(setting)) for setting in settings])

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Bounds from one half down to one in a thousand."""
        return np.geomspace(0.5, 0.001, 60)

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(confidences(logits), self.chosen())


@dataclass(kw_only=True)
class CRC(RiskControl):
    """Conformal risk control: (n R + 1) / (n + 1) <= risk, R the largest empirical risk so far (losses are at most 1)."""

    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        monotone = np.maximum.accumulate(risks)
        return (samples * monotone + 1) / (samples + 1) <= bound


@dataclass(kw_only=True)
class LTT(RiskControl):
    """Learn then test, fixed sequence: the Hoeffding-Bentkus p-value of "the risk exceeds the bound" is at most delta.

    Attributes:
        delta: probability with which the guarantee may fail, in (0, 1).
    """

    delta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _open_unit("ltt", "delta", self.delta)

    def certified(self, risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
        return hoeffding_bentkus(risks, samples, bound) <= self.delta


def hoeffding_bentkus(risks: np.ndarray, samples: int, bound: float) -> np.ndarray:
    """P-values of "the true risk exceeds the bound", for means of losses in [0, 1]; Bates et al., arXiv 2101.02703."""
    from scipy.special import xlogy
    from scipy.stats import binom

    low = np.minimum(risks, bound)
    divergence = xlogy(low, low / bound) + xlogy(1 - low, (1 - low) / (1 - bound))
    hoeffding = np.exp(-samples * divergence)
    # A product such as 1000 * 0.029 may end a little above the whole number that it is.
    bentkus = np.e * binom.cdf(np.ceil(samples * risks - 1e-9), samples, bound)
    return np.minimum(np.minimum(hoeffding, bentkus), 1.0)


def _open_unit(policy: str, name: str, value: float | None) -> None:
    if value is not None and not 0 < value < 1:
        raise ValueError(f"{policy}: {name} is between 0 and 1, both excluded, not {value}")
