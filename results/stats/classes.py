"""Who pays for the speed-up: depth and accuracy drop of every class."""

from __future__ import annotations

import numpy as np


def per_class(
    label: np.ndarray, cost: np.ndarray, right: np.ndarray, static_right: np.ndarray, weight: np.ndarray
) -> dict[str, np.ndarray]:
    """One value a class that occurs, by column.

    Columns: class, samples, cost (mean), accuracy, static_accuracy, drop (static minus policy).

    Args:
        label: [R]; a sample has one row per setting of a mixed operating point.
        cost: of the sample's exit, in any unit, [R].
        right: of the policy's answer, [R].
        static_right: of the backbone without exits, [R].
        weight: [R]; those of one sample sum to 1.
    """
    mass = np.bincount(label, weight)
    seen = np.flatnonzero(mass)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, weight * values)[seen] / mass[seen]

    accuracy, static = mean(right), mean(static_right)
    return {
        "class": seen,
        "samples": np.rint(mass[seen]).astype(int),
        "cost": mean(cost),
        "accuracy": accuracy,
        "static_accuracy": static,
        "drop": static - accuracy,
    }
