"""Decisions of all settings of a policy on stored scores, their accuracy and exit shares; computed in chunks of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.evaluation.scores import ExitScores
from methods.policies.policy import ExitPolicy, checked_logits

# Samples per chunk, which limits the memory: about 200 settings x 2,000 samples, and 9 exits x 2,000 samples x 1,000 classes.
CHUNK = 2_000


@dataclass(frozen=True)
class Sweep:
    """Results of all settings of a policy on one split.

    Attributes:
        settings: [T].
        accuracy: share of correct predictions, [T].
        shares: share of samples that exit at each exit, [T, K].
        samples: number of samples, N.
    """

    settings: np.ndarray
    accuracy: np.ndarray
    shares: np.ndarray
    samples: int

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
        correct: whether the prediction at the exit taken is correct, bool [T, N].
    """

    settings: np.ndarray
    exits: int
    exit_taken: np.ndarray
    correct: np.ndarray

    def row(self, setting: float) -> int:
        """The row of a setting."""
        return int(np.flatnonzero(self.settings == setting)[0])

    def sweep(self) -> Sweep:
        """Accuracy and exit shares of every setting."""
        samples = self.correct.shape[1]
        counts = np.stack([np.bincount(row, minlength=self.exits) for row in self.exit_taken])
        return Sweep(self.settings, self.correct.sum(1) / samples, counts / samples, samples)


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
    correct = np.empty((len(settings), samples), dtype=bool)
    ordered = _exits_in_order(policy, scores, settings) if policy.ordered else None
    for start in range(0, samples, CHUNK):
        chunk = slice(start, start + CHUNK)
        part = scores.part(chunk)
        logits, labels = checked_logits(part.logits), part.labels
        bound = policy.with_context(labels, part.errors)
        taken = bound.sweep(bound.signal(logits), settings) if ordered is None else ordered[:, chunk]
        exit_taken[:, chunk] = taken.numpy()
        correct[:, chunk] = (bound.predictions(logits) == labels).gather(0, taken).numpy()
    return Decisions(settings, exits, exit_taken, correct)


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
