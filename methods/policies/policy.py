"""One policy, two drivers: `choose` folds a policy over stored logits, `start`, `step` and `finish` run it inside inference.

Shapes: K exits, the final head included and last; N samples; C classes. The final head always answers, so a policy
decides at the K - 1 early exits only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

GRID_SIZE = 200
State = dict[str, Tensor]


class ExitPolicy(ABC):
    """When a sample leaves. A policy is a dataclass; its fields are its parameters.

    Attributes:
        swept: the parameter that a sweep varies; its value is called the setting.
        causal: whether exit k is decided by exits up to k of the same sample; only controls may be otherwise.
        learns: whether `fit` on val must come first.
        reads_gates: whether it decides on what the exits' learned gates say; only exits that have them can use it.
    """

    swept: ClassVar[str] = "threshold"
    causal: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    reads_gates: ClassVar[bool] = False

    @property
    def setting(self) -> float | None:
        """The value of the swept parameter; None until one is chosen."""
        return getattr(self, self.swept)

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        """Learn from val, where the policy learns anything.

        Args:
            logits: [K, N, C].
            labels: class indices [N]; needed by policies that say so.
            cost: of leaving at each exit, length K, as a share of the model without exits; the default is (k + 1) / K.

        Returns:
            the policy itself.
        """
        return self

    def with_context(self, labels: Any = None, errors: Tensor | None = None) -> ExitPolicy:
        """A copy of the policy that is given more than the logits of the samples it decides on next.

        Args:
            labels: class indices [N]; only the oracle reads them.
            errors: error probabilities [K - 1, N] that the exits' learned gates predict; None for exits without gates.
        """
        return self

    @abstractmethod
    def signal(self, logits: Tensor) -> Tensor:
        """What is compared with a setting, free of it: logits [K, N, C] to float32 [K - 1, N].

        Entry k depends on exits up to k of the same sample only, unless the policy is not `causal`.
        """

    @abstractmethod
    def leave(self, signal: Tensor, setting: float) -> Tensor:
        """Where the signal [K - 1, N] says go: a bool mask of its shape."""

    @abstractmethod
    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Settings worth a look, from logits on val; ordered from the earliest to the latest leaving."""

    def exits(self, signal: Tensor, setting: float) -> Tensor:
        """The first exit at which each sample leaves, int64 [N], 0-based; K - 1 where none says go."""
        leave = self.leave(signal, setting)
        if not len(leave):
            return torch.zeros(leave.shape[1], dtype=torch.int64, device=leave.device)
        return torch.where(leave.any(0), leave.int().argmax(0), len(leave))

    def sweep(self, signal: Tensor, settings: Sequence[float] | np.ndarray) -> Tensor:
        """`exits` of every setting, [T, N]."""
        return torch.stack([self.exits(signal, float(setting)) for setting in settings])

    def fallback(self, logits: Tensor) -> Tensor:
        """The class that a sample gets when it left at no early exit, [N]: the final head's."""
        return logits[-1].argmax(-1)

    def choose(self, logits: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Exit index [N], 0-based over the K exits, and predicted class [N] under `setting`.

        Raises:
            ValueError: the scores have a wrong shape or hold NaN, or no setting is chosen, or `fit` is missing.
        """
        logits = checked(logits)
        exits = self.exits(self.signal(logits), self.chosen())
        return exits, self.answers(logits)[exits, torch.arange(logits.shape[1], device=logits.device)]

    def answers(self, logits: Tensor) -> Tensor:
        """The class that a sample gets if it leaves at each exit, [K, N]."""
        return torch.cat([logits[:-1].argmax(-1), self.fallback(logits)[None]])

    def start(self, batch: int, device: torch.device | str = "cpu") -> State:
        """What is remembered of ``batch`` samples before the first exit: tensors whose first axis is the batch."""
        return {}

    @abstractmethod
    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        """At an early exit: logits (B, C) of the samples still running to a bool mask (B,) of those that leave.

        Updates ``state`` for all B samples; the driver keeps the rows of the survivors (`survivors`).
        """

    def finish(self, logits: Tensor, state: State) -> Tensor:
        """At the final head: logits (B, C) of the samples that are left to their classes (B,)."""
        return logits.argmax(-1)

    def chosen(self) -> float:
        if self.setting is None:
            raise ValueError(f"{type(self).__name__} has no {self.swept} yet")
        return self.setting


class ThresholdPolicy(ExitPolicy):
    """A policy that leaves where its signal is on the right side of one number.

    Attributes:
        above: leave above the setting; else below.
        strict: equality does not suffice.
    """

    above: ClassVar[bool] = True
    strict: ClassVar[bool] = True

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        if self.above:
            return signal > setting if self.strict else signal >= setting
        return signal < setting if self.strict else signal <= setting

    def sweep(self, signal: Tensor, settings: Sequence[float] | np.ndarray) -> Tensor:
        """A sample leaves where its best signal so far passes; so its exit is the number of exits that do not pass."""
        best = signal.cummax(0).values if self.above else signal.cummin(0).values
        wanted = torch.as_tensor(np.asarray(settings), dtype=signal.dtype, device=signal.device)
        exits = torch.zeros(len(wanted), signal.shape[1], dtype=torch.uint8, device=signal.device)
        for row in best:
            exits += ~self.leave(row, wanted[:, None])  # type: ignore[arg-type]
        return exits.long()

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """The ends of the range, and quantiles of the best signal that each sample reaches so far, pooled over exits."""
        logits = torch.as_tensor(logits)
        signal = self.signal(logits)
        pooled = (signal.cummax(0) if self.above else signal.cummin(0)).values.flatten().double()
        pooled = pooled[pooled.isfinite()]
        pooled = pooled[:: max(1, len(pooled) // 2**20)]  # torch.quantile takes 16 million at most
        first, last = self.ends(logits.shape[0], logits.shape[2])
        grid = np.array([first, last])
        if len(pooled):
            inner = torch.quantile(pooled, torch.linspace(0, 1, GRID_SIZE - 2).double()).numpy()
            grid = np.concatenate([grid, np.clip(inner, min(first, last), max(first, last))])
        grid = np.unique(grid)
        return grid if self.above else grid[::-1].copy()

    def ends(self, exits: int, classes: int) -> tuple[float, float]:
        """The settings of the earliest and of the latest leaving."""
        return 0.0, 1.0


def checked(logits: Tensor | np.ndarray) -> Tensor:
    """Scores as a tensor [K, N, C] without NaN.

    Raises:
        ValueError: they are not.
    """
    logits = torch.as_tensor(logits)
    if logits.ndim != 3 or not all(logits.shape) or not logits.is_floating_point():
        shape = " x ".join(map(str, logits.shape)) or "a single number"
        raise ValueError(f"scores are floats [exits, samples, classes]; these are {logits.dtype} of shape {shape}")
    broken = logits.isnan()
    if broken.any():
        exit_, sample, _ = broken.nonzero()[0].tolist()
        count = int(broken.any(-1).sum())
        raise ValueError(f"scores hold NaN in {count} places, the first at exit {exit_}, sample {sample}")
    return logits


def probability(policy: str, name: str, value: float | None) -> None:
    """
    Raises:
        ValueError: the value is no probability.
    """
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{policy}: {name} is between 0 and 1, not {value}")


def survivors(state: State, keep: Tensor) -> State:
    """The state of the samples where ``keep`` (B,) holds."""
    return {name: value[keep] for name, value in state.items()}


def confidences(logits: Tensor) -> Tensor:
    """The largest softmax probability, float32; logits [..., C] to [...]."""
    return logits.float().softmax(-1).amax(-1)


def entropies(logits: Tensor, normalised: bool) -> Tensor:
    """Entropy of the softmax in nats, or as a share of ln C; finite for any gap between logits. [..., C] to [...]."""
    nats = torch.special.entr(logits.float().softmax(-1)).sum(-1)
    return nats / np.log(logits.shape[-1]) if normalised else nats
