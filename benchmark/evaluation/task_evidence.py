"""What stored scores say about a model's answers: decisions of policies, and rows of the run's tables. One subclass a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from benchmark.evaluation.decisions import Decisions
from benchmark.evaluation.scores import ExitScores
from methods.policies.policy import ExitPolicy
from results.operating_point import OperatingPoint, WeightedThreshold


@dataclass(frozen=True)
class Evidence(ABC):
    """The scores of one split, read for a task.

    Attributes:
        scores: of K exits and N samples.
        has_right: whether the answer for an image is right or wrong.
        most_settings: settings of a policy that are evaluated; None for all.
    """

    scores: ExitScores
    has_right: ClassVar[bool] = False
    most_settings: ClassVar[int | None] = None

    @abstractmethod
    def at_exits(self) -> list[float]:
        """The metric of each exit over all samples, length K."""

    @abstractmethod
    def decisions(self, policy: ExitPolicy, settings: np.ndarray, exit_taken: np.ndarray) -> Decisions:
        """The decisions of a policy that sends samples to exits.

        Args:
            policy: whose answers count; fitted on val if it learns from val.
            settings: [T].
            exit_taken: int16 [T, N].
        """

    @abstractmethod
    def final_exit(self) -> Decisions:
        """The final exit for every sample, as the only exit and one setting."""

    @abstractmethod
    def answers(self, static: ExitScores) -> pd.DataFrame:
        """What every exit, and in some tasks the backbone without exits, answers for every sample: the table ``answers``.

        Args:
            static: of the backbone without exits on the same samples.
        """

    @abstractmethod
    def final_outcomes(self) -> pd.DataFrame:
        """The rows of the table ``outcomes`` of a backbone without exits, whose scores these are."""

    @abstractmethod
    def outcomes(
        self, point: OperatingPoint, setting: WeightedThreshold, decisions: Decisions, policy: ExitPolicy
    ) -> pd.DataFrame:
        """The rows of the table ``outcomes`` under one setting of a point."""

    def ground_truth(self) -> pd.DataFrame | None:
        """The labels as a table of their own; None where other tables hold them."""
        return None

    def true_class_probability(self, policy: ExitPolicy) -> np.ndarray | None:
        """Probability of the true class in the policy's answer at each exit, [K, N]; None without one true class."""
        return None
