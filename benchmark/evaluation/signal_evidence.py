"""Evidence of tasks whose policies read signals: the exit taken alone says which stored answers count."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import pandas as pd

from benchmark.evaluation import tables
from benchmark.evaluation.decisions import Decisions
from benchmark.evaluation.task_evidence import Evidence
from methods.policies.policy import ExitPolicy
from results.operating_point import OperatingPoint, WeightedThreshold
from results.tables.pixel_counts import WITHOUT_EXITS
from results.tables.run import STATIC


class SignalEvidence(Evidence):
    """The scores of a task whose answers are stored apart from what policies read."""

    @abstractmethod
    def sent(self, settings: np.ndarray, exit_taken: np.ndarray) -> Decisions:
        """The decisions of settings [T] that send samples to exits, int16 [T, N]."""

    def decisions(self, policy: ExitPolicy, settings: np.ndarray, exit_taken: np.ndarray) -> Decisions:
        return self.sent(settings, exit_taken)

    def final_outcomes(self) -> pd.DataFrame:
        setting, samples = WeightedThreshold(threshold=0.0, weight=1.0), len(self.scores.sample_id)
        taken, score = np.full(samples, WITHOUT_EXITS), np.full(samples, np.nan)
        return tables.exit_frame(
            STATIC, setting, sample_id=self.scores.sample_id.numpy(), exit_taken=taken, score=score
        )

    def outcomes(
        self, point: OperatingPoint, setting: WeightedThreshold, decisions: Decisions, policy: ExitPolicy
    ) -> pd.DataFrame:
        """The exit of every sample; ``score`` is the first signal there."""
        taken = decisions.exit_taken[decisions.row(setting.threshold)].astype(np.int64)
        score = self.scores.logits[..., 0].numpy()[taken, np.arange(len(taken))]
        return tables.exit_frame(
            point.name, setting, sample_id=self.scores.sample_id.numpy(), exit_taken=taken, score=score
        )
