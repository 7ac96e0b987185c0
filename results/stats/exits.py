"""Statistics of exits: exit-conditional accuracy, overthinking, prediction flips, agreement with the full model.

Shapes: K exits with the final head last, N samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ExitConditional:
    """Statistics of the samples that exit at each exit, [K] each; NaN at exits without samples.

    Attributes:
        share: share of all samples.
        accuracy: accuracy of the exit on these samples (exit-conditional accuracy).
        final_accuracy: accuracy of the final head on the same samples.
    """

    share: np.ndarray
    accuracy: np.ndarray
    final_accuracy: np.ndarray


def exit_conditional(
    exits: np.ndarray, right: np.ndarray, final_right: np.ndarray, weight: np.ndarray, count: int
) -> ExitConditional:
    """Accuracy of each exit on the samples that exit there, and of the final head on the same samples.

    Args:
        exits: exit taken, [R]; a sample has one row per setting of a mixed operating point.
        right: whether the prediction is correct, bool [R].
        final_right: whether the final head's prediction is correct, bool [R].
        weight: weight of the row, [R]; the weights of a sample sum to 1.
        count: number of exits, K.
    """
    mass = np.bincount(exits, weight, count)
    with np.errstate(invalid="ignore"):
        return ExitConditional(
            mass / weight.sum(),
            np.bincount(exits, weight * right, count) / mass,
            np.bincount(exits, weight * final_right, count) / mass,
        )


@dataclass(frozen=True)
class Overthinking:
    """Overthinking (Kaya et al., ICML 2019); shares of all samples.

    Attributes:
        wasteful: share of samples with a correct prediction at an early exit and at the final head.
        destructive: share of samples with a correct prediction at an early exit and a wrong one at the final head.
        wasted_cost: cost after the first correct exit of samples that the final head classifies correctly, averaged over all
            samples.
    """

    wasteful: float
    destructive: float
    wasted_cost: float


def overthinking(correct: np.ndarray, cost: np.ndarray) -> Overthinking:
    """Overthinking of the samples.

    Args:
        correct: bool [K, N].
        cost: cost of exiting at each exit, [K], in any unit, which is also the unit of ``wasted_cost``.
    """
    early = correct[:-1].any(axis=0)
    final = correct[-1]
    first = np.where(correct.any(axis=0), correct.argmax(axis=0), len(correct) - 1)
    wasted = np.where(final, cost[-1] - cost[first], 0.0)
    return Overthinking(float((early & final).mean()), float((early & ~final).mean()), float(wasted.mean()))


def flips(prediction: np.ndarray) -> float:
    """Mean number of changes of a sample's prediction from one exit to the next.

    Args:
        prediction: classes [K, N].
    """
    return float((prediction[1:] != prediction[:-1]).sum(axis=0).mean())


def agreement(prediction: np.ndarray, final: np.ndarray, weight: np.ndarray) -> float:
    """Share of samples whose prediction is that of the full model (consistency; requires no labels).

    Args:
        prediction: classes [R].
        final: predictions of the final head, [R].
        weight: [R], as in `exit_conditional`.
    """
    return float(weight @ (prediction == final) / weight.sum())


@dataclass(frozen=True)
class Disagreement:
    """How often the predictions of each early exit differ from those of the final classifier, [K - 1] each.

    Attributes:
        all: share of all samples.
        final_right: share of the samples that the final classifier predicts correctly; there the exit is wrong.
        final_wrong: share of the samples that it predicts wrongly; NaN without such samples.
        corrected: share of the latter that the exit predicts correctly. Times the share of errors it is the destructive
            overthinking of Kaya et al. (ICML 2019) after this exit; see `overthinking` for all exits together.
    """

    all: np.ndarray
    final_right: np.ndarray
    final_wrong: np.ndarray
    corrected: np.ndarray


def disagreement(prediction: np.ndarray, label: np.ndarray) -> Disagreement:
    """The disagreement of the early exits with the final classifier, split by whether that one is right.

    Args:
        prediction: classes, [K, N].
        label: classes, [N].
    """
    early, final = prediction[:-1], prediction[-1]
    differs, right = early != final, final == label
    with np.errstate(invalid="ignore"):
        return Disagreement(
            differs.mean(axis=1),
            (differs & right).sum(axis=1) / right.sum(),
            (differs & ~right).sum(axis=1) / (~right).sum(),
            ((early == label) & ~right).sum(axis=1) / (~right).sum(),
        )
