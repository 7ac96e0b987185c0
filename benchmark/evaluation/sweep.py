"""Decisions of all settings of a policy on stored scores, their accuracy and exit shares; computed in chunks of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.evaluation.scores import ExitScores
from methods.policies.policy import ExitPolicy, checked_logits
from results.stats.iou import mean_iou, pseudo_values
from results.stats.statistics import bounded_mean, wilson

# Samples per chunk, which limits the memory: about 200 settings x 2,000 samples, and 9 exits x 2,000 samples x 1,000 classes.
CHUNK = 2_000


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
class Decisions:
    """The decisions of T settings of a policy on the N samples of one split.

    Attributes:
        settings: [T].
        exits: number of exits, K.
        exit_taken: 0-based, int16 [T, N].
        correct: whether the prediction at the exit taken is correct, bool [T, N]; None in a task that has counts.
        counts: `ExitScores.counts` of all pixels, int32 [K, N, C, 3]; None in classification.
    """

    settings: np.ndarray
    exits: int
    exit_taken: np.ndarray
    correct: np.ndarray | None
    counts: np.ndarray | None = None

    def row(self, setting: float) -> int:
        """The row of a setting."""
        return int(np.flatnonzero(self.settings == setting)[0])

    def sweep(self) -> Sweep:
        """Accuracy and exit shares of every setting."""
        samples = self.exit_taken.shape[1]
        taken = np.stack([np.bincount(row, minlength=self.exits) for row in self.exit_taken])
        if self.counts is None:
            assert self.correct is not None
            right = self.correct.sum(1)
            accuracy, intervals = right / samples, [wilson(int(count), samples) for count in right]
        else:
            values = [self.values(row) for row in range(len(self.settings))]
            accuracy, intervals = np.array([v.mean() for v in values]), [bounded_mean(v, 0.0, 1.0) for v in values]
        low, high = np.array(intervals, dtype=np.float64).reshape(-1, 2).T
        return Sweep(self.settings, accuracy, low, high, taken / samples)

    def values(self, row: int) -> np.ndarray:
        """Values of the samples whose mean is the metric at one setting, [N]: correctness, or `pseudo_values` of mIoU."""
        if self.counts is None:
            assert self.correct is not None
            return self.correct[row].astype(np.float64)
        return pseudo_values(self.counts[self.exit_taken[row], np.arange(self.exit_taken.shape[1])])

    def accuracy_of_draws(self, times: np.ndarray) -> np.ndarray:
        """The metric of every setting on D draws of the samples, [T, D].

        Sums of whole numbers in float64 are exact, so they do not depend on the order of additions.

        Args:
            times: how often each sample is in each draw, float64 [N, D].
        """
        if self.counts is None:
            assert self.correct is not None
            chunks = [slice(start, start + CHUNK) for start in range(0, len(times), CHUNK)]
            return sum(self.correct[:, chunk].astype(np.float64) @ times[chunk] for chunk in chunks) / len(times)
        classes, columns = self.counts.shape[2:]
        sums = np.zeros((len(self.settings), times.shape[1], classes, columns))
        for exit_index in range(self.exits):
            leaves = (self.exit_taken == exit_index).astype(np.float64)
            for c in range(classes):
                for column in range(columns):
                    sums[:, :, c, column] += leaves @ (self.counts[exit_index, :, c, column, None] * times)
        return mean_iou(sums)


def decide(policy: ExitPolicy, scores: ExitScores, settings: np.ndarray) -> Decisions:
    """Apply every setting of a policy to a split.

    Args:
        policy: the policy, fitted on val if it learns from val.
        scores: scores of the split.
        settings: [T], in any order.

    Raises:
        ValueError: the scores have a wrong shape or contain NaN.
    """
    exits, samples, _ = scores.logits.shape
    exit_taken = np.empty((len(settings), samples), dtype=np.int16)
    correct = None if scores.counts is not None else np.empty((len(settings), samples), dtype=bool)
    ordered = _exits_in_order(policy, scores, settings) if policy.ordered else None
    for start in range(0, samples, CHUNK):
        chunk = slice(start, start + CHUNK)
        part = scores.part(chunk)
        logits, labels = checked_logits(part.logits), part.labels
        bound = policy.with_context(labels, part.errors)
        taken = bound.sweep(bound.signal(logits), settings) if ordered is None else ordered[:, chunk]
        exit_taken[:, chunk] = taken.numpy()
        if correct is not None:
            correct[:, chunk] = (bound.predictions(logits) == labels).gather(0, taken).numpy()
    counts = None if scores.counts is None else scores.counts[..., :3].numpy()
    return Decisions(settings, exits, exit_taken, correct, counts)


def without_exits(static: ExitScores, scores: ExitScores) -> Decisions:
    """The backbone without exits as one setting, on the samples of ``scores`` in their order.

    Args:
        static: scores of the backbone on the same samples, in any order.
        scores: of the run.
    """
    order = torch.argsort(static.sample_id)[torch.argsort(torch.argsort(scores.sample_id))]
    aligned = static.part(order)
    taken = np.zeros((1, len(order)), dtype=np.int16)
    if aligned.counts is not None:
        return Decisions(np.zeros(1), 1, taken, None, aligned.counts[-1:, :, :, :3].numpy())
    correct = (aligned.logits[-1].argmax(-1) == aligned.labels).numpy()
    return Decisions(np.zeros(1), 1, taken, correct[None])


def _exits_in_order(policy: ExitPolicy, scores: ExitScores, settings: np.ndarray) -> torch.Tensor:
    """The exits of a whole split whose samples arrive in the order of an `ordered` policy, int64 [T, N]."""
    samples = len(scores.labels)
    logits = [scores.logits[:, start : start + CHUNK] for start in range(0, samples, CHUNK)]
    signal = torch.cat([policy.signal(checked_logits(part)) for part in logits], 1)
    order = policy.arrival_order(samples)
    order = torch.arange(samples) if order is None else order
    exits = policy.sweep(signal[:, order], settings)
    return exits[:, torch.argsort(order)]


def true_class_probability(policy: ExitPolicy, scores: ExitScores) -> np.ndarray:
    """The probability that the policy's answer at each exit gives to the true class, [K, N]."""
    parts = []
    for start in range(0, len(scores.labels), CHUNK):
        part = scores.part(slice(start, start + CHUNK))
        probabilities = policy.with_context(part.labels, part.errors).answers(part.logits).float().softmax(-1)
        parts.append(probabilities.gather(-1, part.labels.expand(len(probabilities), -1)[..., None])[..., 0])
    return torch.cat(parts, 1).numpy()
