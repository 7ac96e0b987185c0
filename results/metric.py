"""The metric of a task: its name in text, and the statistics of its values per image.

A value per image is the correctness of the answer, or in segmentation the value of `results.stats.iou.pseudo_values`. In both
tasks the mean over images is the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from results.record import Task
from results.stats.significance import sign_flip, sign_flip_unbounded
from results.stats.statistics import accuracy_interval, bounded_mean, paired_interval, paired_interval_unbounded


@dataclass(frozen=True)
class Metric:
    """The metric of a task.

    Attributes:
        name: inside a sentence.
        title: as the head of a column.
        short: as the head of a narrow column.
        interval: 95 % interval of the metric from its values per image, [N].
        paired_interval: of the difference of two methods, from the differences per image, [N]; then the level.
        sign_flip: two-sided p-value that the mean of such differences is zero.
        in_training: what is measured on every batch of a training.
        of_class: its part for one class, as the head of a column.
        note: what readers need to know to compare the metric with that of another program; empty if nothing.
    """

    name: str
    title: str
    short: str
    interval: Callable[[np.ndarray], tuple[float, float]]
    paired_interval: Callable[..., tuple[float, float]]
    sign_flip: Callable[[np.ndarray], float]
    in_training: str
    of_class: str
    note: str = ""

    def explained(self, name: str = "") -> str:
        """The note as a sentence about the metric, or about a part of it that has another name; may be empty."""
        return f"{name or (MIOU if self is BOTH else self).name}: {self.note}" if self.note else ""

    def reaches(self, percent: str, images: str = "") -> str:
        """The predicate of a sentence: ``classifies 71.2 % of the test images correctly``, ``reaches an mIoU of 71.2 %``.

        Args:
            percent: the metric in %.
            images: which images, with a space before it.
        """
        if self.name == "accuracy":
            return f"classifies {percent} %{images} correctly"
        return f"reaches an {self.name} of {percent} %{images and ' on test'}"


def _miou_interval(values: np.ndarray) -> tuple[float, float]:
    return bounded_mean(values, 0.0, 1.0)


ACCURACY = Metric("accuracy", "Accuracy", "Acc.", accuracy_interval, paired_interval, sign_flip, "accuracy", "Recall")
MIOU = Metric(
    "mIoU", "mIoU", "mIoU", _miou_interval, paired_interval_unbounded, sign_flip_unbounded, "pixel accuracy", "IoU",
    "counts summed over the test images, ignored pixels removed, absent classes left out.",
)  # fmt: skip
BOTH = replace(MIOU, name="accuracy or mIoU", title="Accuracy or mIoU", short="Acc./mIoU")
"""Of runs of both tasks in one text."""
METRICS: dict[Task, Metric] = {"classification": ACCURACY, "segmentation": MIOU}


def metric_of(tasks: Iterable[Task]) -> Metric:
    """The metric of runs of one or of several tasks; accuracy where there is no run."""
    metrics = list(dict.fromkeys(METRICS[task] for task in tasks))
    return ACCURACY if not metrics else metrics[0] if len(metrics) == 1 else BOTH
