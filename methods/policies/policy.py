"""The exit policy interface. `choose` applies a policy to stored logits; `start`, `step` and `finish` run it at inference.

Shapes: K exits, of which the last is the final head; N samples; C classes. Every sample exits at the final head at the
latest, so a policy decides at the K - 1 early exits only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from methods.policies.ranges import check_ranges

GRID_SIZE = 200
State = dict[str, Tensor]


class ExitPolicy(ABC):
    """Decides at which exit a sample exits. A policy is a dataclass; its fields are its parameters.

    Attributes:
        swept: name of the parameter that a sweep varies; its value is called the setting.
        causal: whether the decision at exit k depends only on exits up to k of the same sample; False only for controls.
        learns: whether `fit` must be called with val data before the policy is used.
        ordered: whether the decision on a sample depends on the samples before it, so that all samples of a split must be
            decided together. Samples are then not independent, so the policy is left out of paired comparisons.
    """

    swept: ClassVar[str] = "threshold"
    causal: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    ordered: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def setting(self) -> float | None:
        """The value of the swept parameter; None if it is not set."""
        return getattr(self, self.swept)

    @property
    def compares_exits(self) -> bool:
        """Whether it reads values that compare an exit with the exit before, in a task that has them.

        For a policy that does not, dynamic inference leaves them 0.
        """
        return True

    @property
    def reads(self) -> Collection[int] | None:
        """Positions of the values that it reads, in a task that has several; None for all.

        Timed dynamic inference leaves others 0 where the task can.
        """
        return None

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        """Fit the policy on the val split. Policies without learned parameters do nothing.

        Args:
            logits: [K, N, C].
            labels: class indices [N]; required by some policies, which raise a ValueError without them.
            cost: cost of exiting at each exit, length K, relative to the model without exits; the default is (k + 1) / K.

        Returns:
            the policy itself.
        """
        checked_logits(logits)
        return self

    def macs(self, exit_index: int, classes: int) -> int:
        """Multiply-accumulates of the policy's own weights on a sample at an early exit, which no cost table includes."""
        return 0

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> ExitPolicy:
        """A copy of the policy with additional data about the samples of the next call.

        Args:
            labels: class indices [N]; only the oracle reads them.
            errors: error probabilities [K - 1, N] predicted by the exits' learned gates; None for exits without gates.
        """
        return self

    @abstractmethod
    def signal(self, logits: Tensor) -> Tensor:
        """The values that are compared with the setting: logits [K, N, C] to float32 [K - 1, N], or [K - 1, N, ...].

        The signal does not depend on the setting. Entry k depends only on exits up to k of the same sample if the policy is
        `causal`.
        """

    @abstractmethod
    def leave(self, signal: Tensor, setting: float) -> Tensor:
        """A bool mask [K - 1, N]: whether the signal [K - 1, N] meets the exit condition."""

    @abstractmethod
    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Settings to sweep, derived from logits on val, ordered from the earliest exits to the latest."""

    def exits(self, signal: Tensor, setting: float) -> Tensor:
        """The first exit whose condition each sample meets, int64 [N], 0-based; K - 1 if it meets none."""
        leave = self.leave(signal, setting)
        if not len(leave):
            return torch.zeros(leave.shape[1], dtype=torch.int64, device=leave.device)
        return torch.where(leave.any(0), leave.int().argmax(0), len(leave))

    def sweep(self, signal: Tensor, settings: Sequence[float] | np.ndarray) -> Tensor:
        """`exits` for each of T settings, int64 [T, N]."""
        return torch.stack([self.exits(signal, float(setting)) for setting in settings])

    def arrival_order(self, samples: int) -> Tensor | None:
        """Positions [N] in the order in which an evaluation presents them to an `ordered` policy; None for the stored order."""
        return None

    def answers(self, logits: Tensor) -> Tensor:
        """The logits of the policy's answer at each exit, [K, N, C] to [K, N, C]; by default the exits' own logits.

        Entry k depends only on exits up to k of the same sample. An entry is -inf for a class with probability 0.
        """
        return logits

    def choose(self, logits: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Exit index [N], 0-based over the K exits, and predicted class [N] at the current `setting`.

        Raises:
            ValueError: the logits have a wrong shape or contain NaN, the setting is None, or `fit` was not called.
        """
        logits = checked_logits(logits)
        exits = self.exits(self.signal(logits), self.required_setting())
        return exits, self.predictions(logits)[exits, torch.arange(logits.shape[1], device=logits.device)]

    def predictions(self, logits: Tensor) -> Tensor:
        """The predicted class of each sample at each exit, [K, N]."""
        return self.answers(logits).argmax(-1)

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        """The state of ``batch`` samples before the first exit: tensors whose first axis is the batch."""
        return {}

    @abstractmethod
    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        """Decide at an early exit: logits (B, C) of the remaining samples to a bool mask (B,) of the samples that exit.

        Updates ``state`` for all B samples. The caller then keeps the rows of the remaining samples with `survivors`.
        """

    def answer(self, logits: Tensor, state: State) -> Tensor:
        """`answers` in dynamic inference: the logits (B, C) of the answer at the exit of the last `step` or of
        `finish`, whose logits are ``logits`` (B, C)."""
        return logits

    def finish(self, logits: Tensor, state: State) -> Tensor:
        """Predict at the final head: logits (B, C) of the remaining samples to predicted classes (B,)."""
        return logits.argmax(-1)

    def required_setting(self) -> float:
        """The setting.

        Raises:
            ValueError: the setting is None.
        """
        if self.setting is None:
            raise ValueError(f"{type(self).__name__} has no {self.swept} yet")
        return self.setting


class ThresholdPolicy(ExitPolicy):
    """A policy that compares its signal with one threshold.

    Attributes:
        above: exit if the signal is above the setting; if False, exit if it is below.
        strict: whether the comparison excludes equality.
    """

    above: ClassVar[bool] = True
    strict: ClassVar[bool] = True

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        if self.above:
            return signal > setting if self.strict else signal >= setting
        return signal < setting if self.strict else signal <= setting

    def sweep(self, signal: Tensor, settings: Sequence[float] | np.ndarray) -> Tensor:
        """`exits` for each of T settings, int64 [T, N].

        A sample has exited at exit k if its best signal up to k passes the threshold. Its exit index therefore equals the
        number of early exits at which the best signal does not pass.
        """
        best = signal.cummax(0).values if self.above else signal.cummin(0).values
        thresholds = torch.as_tensor(np.asarray(settings), dtype=signal.dtype, device=signal.device)
        exits = torch.zeros(len(thresholds), signal.shape[1], dtype=torch.uint8, device=signal.device)
        for row in best:
            exits += ~self.leave(row, thresholds[:, None])  # type: ignore[arg-type]
        return exits.long()

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Both ends of the range, and quantiles of the running best signal, pooled over samples and exits and moved between
        observed values."""
        logits = checked_logits(logits)
        return self.grid_of(self.signal(logits), *self.ends(logits.shape[0], logits.shape[2]))

    def grid_of(self, signal: Tensor, first: float, last: float) -> np.ndarray:
        """`default_grid` for a signal [K - 1, N] and the `ends` of its range."""
        pooled = (signal.cummax(0) if self.above else signal.cummin(0)).values.flatten().double()
        pooled = pooled[pooled.isfinite()]
        pooled = pooled[:: max(1, len(pooled) // 2**20)]  # torch.quantile accepts at most 16 million values
        grid = np.array([first, last])
        if len(pooled):
            inner = between(pooled, torch.quantile(pooled, torch.linspace(0, 1, GRID_SIZE - 2).double()))
            grid = np.concatenate([grid, np.clip(inner.numpy(), min(first, last), max(first, last))])
        grid = np.unique(grid)
        return grid if self.above else grid[::-1].copy()

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        """The settings with the earliest and with the latest exits, for K ``exits``."""
        return 0.0, 1.0


def between(observed: Tensor, thresholds: Tensor) -> Tensor:
    """Thresholds in the middle between neighbouring observed values, so that a rounding error decides on no sample.

    A softmax on another device differs by a rounding error, which changes the decision on a sample exactly at a threshold.

    Args:
        observed: values of a signal in any order, [M].
        thresholds: [T].

    Returns:
        for each threshold the middle of the gap that contains it; of the gap below it if it equals an observed value, and of
        the lowest gap if there is none below, [T]. Unchanged if all observed values are equal.
    """
    values = observed.unique()
    if len(values) < 2:
        return thresholds
    gap = torch.searchsorted(values, thresholds.contiguous()).clamp(1, len(values) - 1)
    return (values[gap - 1] + values[gap]) / 2


def checked_logits(logits: Tensor | np.ndarray) -> Tensor:
    """The logits as a tensor [K, N, C].

    Raises:
        ValueError: the logits are not a non-empty floating-point array with three axes, or contain NaN or infinite values.
    """
    logits = torch.as_tensor(logits)
    if logits.ndim != 3 or not all(logits.shape) or not logits.is_floating_point():
        shape = " x ".join(map(str, logits.shape)) or "a single number"
        raise ValueError(f"scores are floats [exits, samples, classes]; these are {logits.dtype} of shape {shape}")
    broken = ~logits.isfinite()
    if broken.any():
        exit_, sample, _ = broken.nonzero()[0].tolist()
        count = int(broken.any(-1).sum())
        raise ValueError(
            f"scores hold NaN or infinite values in {count} places, the first at exit {exit_}, sample {sample}"
        )
    return logits


def checked_labels(labels: Any, logits: Tensor) -> Tensor:
    """The labels as int64 [N] for logits [K, N, C].

    Raises:
        ValueError: they are not N integers from 0 to C - 1.
    """
    labels, (_, samples, classes) = torch.as_tensor(labels), logits.shape
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.shape != (samples,):
        raise ValueError(
            f"labels are {samples} integers, one per sample; these are {labels.dtype} of shape {list(labels.shape)}"
        )
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(f"labels are class indices from 0 to {classes - 1}, not {int(outside[0])}")
    return labels.long()


def survivors(state: State, keep: Tensor) -> State:
    """The state of the samples whose entry in the bool mask ``keep`` (B,) is True."""
    return {name: value[keep] for name, value in state.items()}


def confidences(logits: Tensor) -> Tensor:
    """The largest softmax probability, float32; logits [..., C] to [...]."""
    return logits.float().softmax(-1).amax(-1)


def entropies(logits: Tensor, normalised: bool) -> Tensor:
    """Entropy of the softmax, in nats or divided by ln C; finite for all finite logits. Logits [..., C] to [...]."""
    nats = torch.special.entr(logits.float().softmax(-1)).sum(-1)
    return nats / np.log(logits.shape[-1]) if normalised else nats
