"""Cost and accuracy drop by class."""

from __future__ import annotations

import numpy as np


def per_class(
    label: np.ndarray, cost: np.ndarray, right: np.ndarray, static_right: np.ndarray, weight: np.ndarray
) -> dict[str, np.ndarray]:
    """Statistics of each class that occurs in ``label``, as columns of a table.

    Columns: class, samples, cost (mean), accuracy, static_accuracy, drop (static minus policy).

    Args:
        label: [R]; a sample has one row per setting of a mixed operating point.
        cost: cost of the exit taken, in any unit, [R].
        right: whether the policy's prediction is correct, bool [R].
        static_right: whether the prediction of the backbone without exits is correct, [R].
        weight: weight of the row, [R]; the weights of a sample sum to 1.
    """
    mass = np.bincount(label, weight)
    classes = np.flatnonzero(mass)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, weight * values)[classes] / mass[classes]

    accuracy, static = mean(right), mean(static_right)
    return {
        "class": classes,
        "samples": np.rint(mass[classes]).astype(int),
        "cost": mean(cost),
        "accuracy": accuracy,
        "static_accuracy": static,
        "drop": static - accuracy,
    }
