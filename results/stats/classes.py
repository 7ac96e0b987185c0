"""Statistics by class: recall, the majority baseline, cost and accuracy drop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PIXELS = "labelled test pixels"
BOXES = "labelled test boxes"


@dataclass(frozen=True)
class Balance:
    """How well a classifier treats the classes of a test split.

    Attributes:
        classes: those with samples, [C].
        samples: of each, [C].
        recall: share of each class that is classified correctly, [C].
        predicted: number of samples that are classified as each, [C].
        unit: what the samples are.
    """

    classes: np.ndarray
    samples: np.ndarray
    recall: np.ndarray
    predicted: np.ndarray
    unit: str = "test images"

    @classmethod
    def of(cls, label: np.ndarray, prediction: np.ndarray) -> Balance:
        """From integers [N] each."""
        classes, index, samples = np.unique(label, return_inverse=True, return_counts=True)
        recall = np.bincount(index, prediction == label) / samples
        predicted = np.array([(prediction == name).sum() for name in classes])
        return cls(classes, samples, recall, predicted)

    @classmethod
    def of_pixels(cls, counts: np.ndarray) -> Balance:
        """From true positive, false positive and false negative pixels of each class, summed over images, [C, 3]."""
        labelled = counts[:, 0] + counts[:, 2]
        classes = np.flatnonzero(labelled)
        recall = counts[classes, 0] / labelled[classes]
        return cls(classes, labelled[classes], recall, (counts[:, 0] + counts[:, 1])[classes], PIXELS)

    @classmethod
    def of_boxes(cls, classes: np.ndarray, labelled: np.ndarray, found: np.ndarray, answered: np.ndarray) -> Balance:
        """From the number of labelled boxes of each class, [C], the number of those that are found, and that of all boxes that
        are answered."""
        return cls(classes, labelled, found / labelled, answered, BOXES)

    @property
    def majority(self) -> int:
        """The most frequent class."""
        return int(self.classes[self.samples.argmax()])

    @property
    def majority_share(self) -> float:
        """Accuracy of a classifier that always answers the most frequent class; of pixels, its mIoU; NaN of boxes."""
        if self.unit == BOXES:
            return float("nan")
        share = float(self.samples.max() / self.samples.sum())
        return share / len(self.classes) if self.unit == PIXELS else share

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over classes."""
        return float(self.recall.mean())

    @property
    def never_predicted(self) -> list[int]:
        """Classes with samples that no sample is classified as."""
        return [int(name) for name in self.classes[self.predicted == 0]]


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
