"""The decisions of all settings of a policy on one split, and how well each setting does. One subclass a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Samples per chunk, which limits the memory: about 200 settings x 2,000 samples, and 9 exits x 2,000 samples x 1,000 classes.
CHUNK = 2_000


DRAWS = 400


@dataclass(frozen=True)
class Sweep:
    """Results of all settings of a policy on one split.

    Attributes:
        settings: [T].
        accuracy: accuracy, or the metric of another task, [T].
        low: lower end of its 95 % interval over samples, [T].
        high: upper end, [T].
        shares: share of samples that exit at each exit, [T, K].
    """

    settings: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shares: np.ndarray

    def mean(self, at_exit: Sequence[float]) -> np.ndarray:
        """The mean over samples of a quantity that depends on the exit taken.

        Args:
            at_exit: the quantity at each exit, [K].

        Returns:
            the mean for each setting, [T].
        """
        return self.shares @ np.asarray(at_exit, dtype=np.float64)


@dataclass(frozen=True)
class Decisions(ABC):
    """The decisions of T settings of a policy on the N samples of one split.

    Attributes:
        settings: [T].
        exits: number of exits, K.
        exit_taken: 0-based, int16 [T, N].
    """

    settings: np.ndarray
    exits: int
    exit_taken: np.ndarray

    @abstractmethod
    def values(self, row: int) -> np.ndarray:
        """Values of the samples whose mean is the metric at one setting, float64 [N]; see `results.metric`."""

    @abstractmethod
    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """The metric of every setting, [T], and its 95 % interval over samples, [T, 2]."""

    @property
    def draws(self) -> int:
        """Bootstrap draws of the samples that intervals of thresholds rest on."""
        return DRAWS

    @abstractmethod
    def metric_of_draws(self, times: np.ndarray) -> np.ndarray:
        """The metric of every setting on D draws of the samples, [T, D].

        Args:
            times: how often each sample is in each draw, float64 [N, D].
        """

    def is_right(self, row: int) -> np.ndarray | None:
        """Whether each sample is answered correctly at one setting, bool [N]; None where an answer is not right or wrong."""
        return None

    def row(self, setting: float) -> int:
        """The row of a setting."""
        return int(np.flatnonzero(self.settings == setting)[0])

    def sweep(self) -> Sweep:
        """The metric and the exit shares of every setting."""
        taken = np.stack([np.bincount(row, minlength=self.exits) for row in self.exit_taken])
        metric, intervals = self.measured()
        low, high = np.array(intervals, dtype=np.float64).reshape(-1, 2).T
        return Sweep(self.settings, metric, low, high, taken / self.exit_taken.shape[1])
