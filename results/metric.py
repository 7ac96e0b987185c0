"""The metric of a task: its name in text, and the statistics of its values per image.

A value per image is the correctness of the answer, in segmentation the value of `results.stats.iou.pseudo_values`, and in
detection that of `results.stats.average_precision.pseudo_values`. In all tasks the mean over images is the metric.
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
        better: in place of ``more accurate``.
        worse: in place of ``less``.
        best: in place of ``the most accurate``.
        parts: the metrics that this one stands for, where it stands for several.
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
    better: str = "more accurate"
    worse: str = "less"
    best: str = "the most accurate"
    parts: tuple[Metric, ...] = ()

    def explained(self, name: str = "") -> str:
        """The note as a sentence about the metric, or about a part of it that has another name; may be empty."""
        if self.parts:
            return " ".join(part.explained() for part in self.parts if part.note)
        return f"{name or self.name}: {self.note}" if self.note else ""

    def reaches(self, percent: str, images: str = "") -> str:
        """The predicate of a sentence: ``classifies 71.2 % of the test images correctly``, ``reaches an mIoU of 71.2 %``.

        Args:
            percent: the metric in %.
            images: which images, with a space before it.
        """
        if self.name == "accuracy":
            return f"classifies {percent} %{images} correctly"
        return f"reaches an {self.name} of {percent} %{images and ' on test'}"


def _interval(values: np.ndarray) -> tuple[float, float]:
    return bounded_mean(values, 0.0, 1.0)


ACCURACY = Metric("accuracy", "Accuracy", "Acc.", accuracy_interval, paired_interval, sign_flip, "accuracy", "Recall")
MIOU = Metric(
    "mIoU", "mIoU", "mIoU", _interval, paired_interval_unbounded, sign_flip_unbounded, "pixel accuracy", "IoU",
    "counts summed over the images, ignored pixels removed, classes neither labelled nor answered left out.",
    better="better", worse="worse", best="best",
)  # fmt: skip
AP = Metric(
    "AP", "AP", "AP", _interval, paired_interval_unbounded, sign_flip_unbounded, "class accuracy", "AP",
    "COCO's mean over classes, IoU from 0.5 to 0.95 and 101 recalls, at most 100 boxes an image.",
    better="better", worse="worse", best="best",
)  # fmt: skip
METRICS: dict[Task, Metric] = {"classification": ACCURACY, "segmentation": MIOU, "detection": AP}


def one_metric(metrics: Iterable[Metric]) -> Metric:
    """One metric for a text about several, such as ``accuracy or mIoU``; accuracy for none."""
    present = set(metrics)
    parts = tuple(metric for metric in METRICS.values() if metric in present)
    if len(parts) < 2:
        return parts[0] if parts else ACCURACY
    name = " or ".join(part.name for part in parts)
    return replace(
        parts[-1], name=name, title=name[0].upper() + name[1:], short="/".join(part.short for part in parts), note="",
        better="better", worse="worse", best="best", parts=parts,
    )  # fmt: skip
