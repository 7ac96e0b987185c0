"""Statistics of exits: anytime and exit-conditional accuracy, overthinking, prediction flips, agreement with the full model.

Shapes: K exits with the final head last, N samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def anytime_accuracy(correct: np.ndarray) -> np.ndarray:
    """Accuracy of every exit on all samples, [K] (MSDNet's anytime setting).

    Args:
        correct: bools [K, N].
    """
    return correct.mean(axis=1)


@dataclass(frozen=True)
class Leaving:
    """The samples that leave at each exit, [K] each; NaN where none leaves.

    Attributes:
        share: of all samples.
        accuracy: of the predictions at that exit (exit-conditional accuracy).
        final_accuracy: of the final head on the same samples; low for hard samples, high for a bad head at the exit.
    """

    share: np.ndarray
    accuracy: np.ndarray
    final_accuracy: np.ndarray


def leaving(exits: np.ndarray, right: np.ndarray, final_right: np.ndarray, weight: np.ndarray, count: int) -> Leaving:
    """Accuracy of each exit on the samples that leave there, and of the final head on the same samples.

    Args:
        exits: exit taken, [R]; a sample has one row per setting of a mixed operating point.
        right: whether the prediction is right, bools [R].
        final_right: whether the final head would have been right, bools [R].
        weight: of the row, [R]; those of one sample sum to 1.
        count: K.
    """
    mass = np.bincount(exits, weight, count)
    with np.errstate(invalid="ignore"):
        return Leaving(
            mass / weight.sum(),
            np.bincount(exits, weight * right, count) / mass,
            np.bincount(exits, weight * final_right, count) / mass,
        )


@dataclass(frozen=True)
class Overthinking:
    """Overthinking (Kaya et al., ICML 2019); shares of all samples.

    Attributes:
        wasteful: share whose prediction is right at an early exit and at the final head.
        destructive: share whose prediction is right at an early exit and wrong at the final head.
        wasted_cost: mean cost spent after the first right exit, over all samples, where the final head is right.
    """

    wasteful: float
    destructive: float
    wasted_cost: float


def overthinking(correct: np.ndarray, cost: np.ndarray) -> Overthinking:
    """
    Args:
        correct: bools [K, N].
        cost: of leaving at each exit, [K], in any unit; ``wasted_cost`` has the same.
    """
    early = correct[:-1].any(axis=0)
    final = correct[-1]
    first = np.where(correct.any(axis=0), correct.argmax(axis=0), len(correct) - 1)
    spent = np.where(final, cost[-1] - cost[first], 0.0)
    return Overthinking(float((early & final).mean()), float((early & ~final).mean()), float(spent.mean()))


def flips(prediction: np.ndarray) -> float:
    """Mean number of changes of a sample's prediction from one exit to the next.

    Args:
        prediction: classes [K, N].
    """
    return float((prediction[1:] != prediction[:-1]).sum(axis=0).mean())


def agreement(prediction: np.ndarray, final: np.ndarray, weight: np.ndarray) -> float:
    """Share of samples whose prediction is that of the full model (consistency; needs no labels).

    Args:
        prediction: classes [R].
        final: predictions of the final head, [R].
        weight: [R], as in `leaving`.
    """
    return float(weight @ (prediction == final) / weight.sum())
