"""Evidence of a segmentation: the signals that policies read, and counts of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from benchmark.evaluation.decisions import Decisions
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.signal_evidence import SignalEvidence
from results.stats.iou import mean_iou, pseudo_values
from results.stats.statistics import bounded_mean
from results.tables.pixel_counts import COUNTS, WITHOUT_EXITS


@dataclass(frozen=True)
class PixelDecisions(Decisions):
    """Decisions on images whose pixels are classified.

    Attributes:
        counts: of all pixels at every exit: true positives, false positives and false negatives of each class, int32
            [K, N, C, 3].
    """

    counts: np.ndarray

    def values(self, row: int) -> np.ndarray:
        """`pseudo_values` of the mIoU."""
        return pseudo_values(self.counts[self.exit_taken[row], np.arange(self.exit_taken.shape[1])])

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        values = [self.values(row) for row in range(len(self.settings))]
        return np.array([v.mean() for v in values]), np.array([bounded_mean(v, 0.0, 1.0) for v in values])

    def metric_of_draws(self, times: np.ndarray) -> np.ndarray:
        """One product for each setting, of the counts at its exits. Sums of whole numbers in float64 are exact in any order."""
        images, shape = np.arange(self.counts.shape[1]), (times.shape[1], *self.counts.shape[2:])
        return np.stack(
            [
                mean_iou((times.T @ self.counts[exits, images].reshape(len(images), -1)).reshape(shape))
                for exits in self.exit_taken
            ]
        )


class PixelEvidence(SignalEvidence):
    """The scores of a segmentation."""

    def at_exits(self) -> list[float]:
        """The mIoU of each exit."""
        return mean_iou(_counts(self.scores)[..., :3].sum(1).numpy()).tolist()

    def sent(self, settings: np.ndarray, exit_taken: np.ndarray) -> PixelDecisions:
        counts = _counts(self.scores)[..., :3].numpy()
        return PixelDecisions(settings, len(counts), exit_taken, counts)

    def final_exit(self) -> PixelDecisions:
        counts = _counts(self.scores)[-1:, :, :, :3].numpy()
        return PixelDecisions(np.zeros(1), 1, np.zeros((1, counts.shape[1]), dtype=np.int16), counts)

    def answers(self, static: ExitScores) -> pd.DataFrame:
        """The counts of each class, without rows of zeros, of every exit and of the backbone without exits."""
        parts = [
            _class_counts(_counts(static)[-1:], static.sample_id, WITHOUT_EXITS),
            _class_counts(_counts(self.scores), self.scores.sample_id),
        ]
        return pd.concat(parts, ignore_index=True)


def _counts(scores: ExitScores) -> Tensor:
    assert scores.counts is not None
    return scores.counts


def _class_counts(counts: Tensor, sample_id: Tensor, first_exit: int = 0) -> pd.DataFrame:
    """The rows that are not zero of counts int32 [K, N, C, 6]; the exits are numbered from ``first_exit``."""
    values = counts.numpy()
    exit_, sample, class_ = np.nonzero(values.any(-1))
    rows = values[exit_, sample, class_]
    where = {"exit": exit_ + first_exit, "sample_id": sample_id.numpy()[sample], "class": class_.astype(np.int32)}
    return pd.DataFrame(where | {name: rows[:, i] for i, name in enumerate(COUNTS)})
