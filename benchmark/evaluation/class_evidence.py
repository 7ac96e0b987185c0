"""Evidence of a classification: the logits of every exit, and the label of every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from benchmark.evaluation import tables
from benchmark.evaluation.decisions import CHUNK, Decisions
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.task_evidence import Evidence
from methods.policies.policy import ExitPolicy, checked_logits, confidences
from results.operating_point import OperatingPoint, WeightedThreshold
from results.stats.statistics import wilson
from results.tables.run import STATIC


@dataclass(frozen=True)
class ClassDecisions(Decisions):
    """Decisions on images with one label each.

    Attributes:
        correct: whether the prediction at the exit taken is correct, bool [T, N].
    """

    correct: np.ndarray

    def values(self, row: int) -> np.ndarray:
        """Correctness, 0 or 1."""
        return self.correct[row].astype(np.float64)

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        samples, right = self.correct.shape[1], self.correct.sum(1)
        return right / samples, np.array([wilson(int(count), samples) for count in right])

    def metric_of_draws(self, times: np.ndarray) -> np.ndarray:
        chunks = [slice(start, start + CHUNK) for start in range(0, len(times), CHUNK)]
        return sum(self.correct[:, chunk].astype(np.float64) @ times[chunk] for chunk in chunks) / len(times)

    def is_right(self, row: int) -> np.ndarray | None:
        return self.correct[row]


class ClassEvidence(Evidence):
    """The scores of a classification."""

    has_right: ClassVar[bool] = True

    def at_exits(self) -> list[float]:
        return (self.scores.logits.argmax(-1) == self.scores.labels).double().mean(-1).tolist()

    def decisions(self, policy: ExitPolicy, settings: np.ndarray, exit_taken: np.ndarray) -> ClassDecisions:
        correct = np.empty(exit_taken.shape, dtype=bool)
        for start in range(0, exit_taken.shape[1], CHUNK):
            chunk = slice(start, start + CHUNK)
            part = self.scores.part(chunk)
            logits, taken = checked_logits(part.logits), torch.from_numpy(exit_taken[:, chunk]).long()
            bound = policy.with_context(part.labels, part.errors)
            correct[:, chunk] = (bound.predictions(logits) == part.labels).gather(0, taken).numpy()
        return ClassDecisions(settings, len(self.scores.logits), exit_taken, correct)

    def final_exit(self) -> ClassDecisions:
        correct = (self.scores.logits[-1].argmax(-1) == self.scores.labels).numpy()
        return ClassDecisions(np.zeros(1), 1, np.zeros((1, len(correct)), dtype=np.int16), correct[None])

    def answers(self, static: ExitScores) -> pd.DataFrame:
        """Prediction, confidence and negative log-likelihood of every exit for every sample."""
        scores = self.scores
        exits, samples, _ = scores.logits.shape
        logits = scores.logits.float()
        nll = torch.stack([F.cross_entropy(row, scores.labels, reduction="none") for row in logits])
        return pd.DataFrame(
            {
                "exit": np.repeat(np.arange(exits, dtype=np.int16), samples),
                "sample_id": np.tile(scores.sample_id.numpy(), exits),
                "label": np.tile(scores.labels.numpy().astype(np.int32), exits),
                "prediction": logits.argmax(-1).numpy().astype(np.int32).ravel(),
                "confidence": confidences(logits).numpy().ravel(),
                "nll": nll.numpy().ravel(),
            }
        )

    def final_outcomes(self) -> pd.DataFrame:
        """The final classifier's prediction for every sample."""
        final = self.scores.logits[-1]
        return tables.outcome_frame(
            STATIC,
            WeightedThreshold(threshold=0.0, weight=1.0),
            sample_id=self.scores.sample_id.numpy(),
            exit_taken=np.zeros(len(self.scores.labels), dtype=np.int64),
            prediction=final.argmax(-1).numpy(),
            label=self.scores.labels.numpy(),
            score=final.softmax(-1).amax(-1).numpy(),
        )

    def outcomes(
        self, point: OperatingPoint, setting: WeightedThreshold, decisions: Decisions, policy: ExitPolicy
    ) -> pd.DataFrame:
        """Exit and prediction of every sample; ``score`` is the largest probability of the answer."""
        scores = self.scores
        bound = policy.with_context(scores.labels, scores.errors)
        exits = torch.from_numpy(decisions.exit_taken[decisions.row(setting.threshold)].astype(np.int64))
        samples = torch.arange(len(exits))
        return tables.outcome_frame(
            point.name,
            setting,
            sample_id=scores.sample_id.numpy(),
            exit_taken=exits.numpy(),
            prediction=bound.predictions(scores.logits)[exits, samples].numpy(),
            label=scores.labels.numpy(),
            score=confidences(bound.answers(scores.logits)[exits, samples]).numpy(),
        )

    def true_class_probability(self, policy: ExitPolicy) -> np.ndarray | None:
        parts = []
        for start in range(0, len(self.scores.labels), CHUNK):
            part = self.scores.part(slice(start, start + CHUNK))
            probabilities = policy.with_context(part.labels, part.errors).answers(part.logits).float().softmax(-1)
            parts.append(probabilities.gather(-1, part.labels.expand(len(probabilities), -1)[..., None])[..., 0])
        return torch.cat(parts, 1).numpy()
