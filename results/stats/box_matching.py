"""Boxes that exits find, matched with labelled boxes by pycocotools, class by class and image by image.

The matches of an image do not depend on other images. They are found once for every exit, and the average precision of any
choice of exits follows from them (`results.stats.average_precision`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MANY = 10**8
"""More than there are classes."""
ALL, SMALL, MEDIUM, LARGE = (0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10)
"""Ranges of the area of a labelled box, in pixels of the stored image; both ends belong to a range, as in COCO."""


@dataclass(frozen=True)
class FoundBoxes:
    """M boxes that exits find in images.

    Attributes:
        exit: index of the exit, int [M].
        image: position of the image, int [M].
        boxes: left, top, right, bottom, float [M, 4].
        score: float [M].
        label: class index, int [M].
    """

    exit: np.ndarray
    image: np.ndarray
    boxes: np.ndarray
    score: np.ndarray
    label: np.ndarray

    def part(self, rows: np.ndarray) -> FoundBoxes:
        """The boxes at some positions."""
        return FoundBoxes(self.exit[rows], self.image[rows], self.boxes[rows], self.score[rows], self.label[rows])


@dataclass(frozen=True)
class TrueBoxes:
    """T labelled boxes of N images.

    Attributes:
        images: N.
        image: position of the image, int [T].
        boxes: left, top, right, bottom, float [T, 4].
        label: class index, int [T].
        ignored: whether an exit may find the box and need not, bool [T]. Such a box is one of COCO's crowds: it may be found
            several times, and the overlap with it is a share of the found box.
    """

    images: int
    image: np.ndarray
    boxes: np.ndarray
    label: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class ClassMatches:
    """The matches of one class: R found boxes of all exits in order of falling scores. Ties have the order of the images.

    Attributes:
        label: class index.
        image: position of the image, [R].
        exit: [R].
        right: whether the box is matched with a labelled box that counts, by IoU threshold, bool [10, R].
        counted: whether it counts, bool [10, R]. A box matched with an ignored one does not, and neither does an unmatched box
            whose area is outside the range.
        positives: labelled boxes that count, of each image, int [N].
    """

    label: int
    image: np.ndarray
    exit: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    positives: np.ndarray


@dataclass(frozen=True)
class Matches:
    """The matches of the boxes of E exits in N images.

    Attributes:
        images: N.
        exits: E; an exit of -1 is the last of them.
        classes: those with a labelled box that counts. Other classes have no precision, as in COCO.
    """

    images: int
    exits: int
    classes: tuple[ClassMatches, ...]


def match(found: FoundBoxes, truth: TrueBoxes, exits: int, area: tuple[float, float] = ALL) -> Matches:
    """Match the boxes of every exit with the labelled boxes.

    Args:
        found: at most 100 for an exit and image; exits from 0 to E - 1.
        truth: of the same images.
        exits: E.
        area: smallest and largest area of the labelled boxes that count.
    """
    right = np.zeros((len(IOU_THRESHOLDS), len(found.exit)), dtype=bool)
    counted = np.repeat(_inside(found.boxes, area)[None], len(IOU_THRESHOLDS), axis=0)
    # Boxes of a class that has no labelled box in the image match nothing, which needs no library.
    pairs = np.unique(truth.image.astype(np.int64) * MANY + truth.label)
    may_match = np.isin(found.image.astype(np.int64) * MANY + found.label, pairs)
    for exit_index in range(exits):
        rows = np.flatnonzero(may_match & (found.exit == exit_index))
        for ids, is_right, is_counted in _of_exit(found.part(rows), truth, area):
            right[:, rows[ids]], counted[:, rows[ids]] = is_right, is_counted
    counts = ~truth.ignored.astype(bool) & _inside(truth.boxes, area)
    order = np.lexsort((found.image, -found.score.astype(np.float64), found.label))
    labels, classes = found.label[order], []
    for label in np.unique(truth.label[counts]):
        rows = order[np.searchsorted(labels, label) : np.searchsorted(labels, label, side="right")]
        positives = np.bincount(truth.image[counts & (truth.label == label)], minlength=truth.images)
        classes.append(
            ClassMatches(int(label), found.image[rows], found.exit[rows], right[:, rows], counted[:, rows], positives)
        )
    return Matches(truth.images, exits, tuple(classes))


def _of_exit(
    found: FoundBoxes, truth: TrueBoxes, area: tuple[float, float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each image and class with found boxes: their positions [D], and `right` and `counted` [10, D]."""
    labelled, detected = COCO(), COCO()
    images = [{"id": n} for n in range(truth.images)]
    categories = [{"id": int(label)} for label in np.union1d(truth.label, found.label)]
    labelled.dataset = {
        "images": images, "categories": categories,
        "annotations": _annotations(truth.image, truth.boxes, truth.label, iscrowd=truth.ignored.astype(int)),
    }  # fmt: skip
    detected.dataset = {
        "images": images, "categories": categories,
        "annotations": _annotations(found.image, found.boxes, found.label, score=found.score.astype(float)),
    }  # fmt: skip
    with redirect_stdout(io.StringIO()):  # pycocotools reports its progress
        labelled.createIndex()
        detected.createIndex()
        evaluation = COCOeval(labelled, detected, "bbox")
        evaluation.params.iouThrs, evaluation.params.areaRng = IOU_THRESHOLDS, [list(area)]
        evaluation.evaluate()
    for one in evaluation.evalImgs:
        if one is not None and one["dtIds"]:
            counted = ~one["dtIgnore"].astype(bool)
            yield np.array(one["dtIds"]) - 1, (one["dtMatches"] > 0) & counted, counted


def _annotations(
    image: np.ndarray, boxes: np.ndarray, label: np.ndarray, **more: np.ndarray
) -> list[dict[str, object]]:
    """Boxes in pycocotools' form; ids start at 1, because 0 stands for no match."""
    corners = boxes.astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    columns = {name: values.tolist() for name, values in more.items()}
    rows = zip(image.tolist(), label.tolist(), np.hstack([corners[:, :2], sides]).tolist(), strict=True)
    areas = sides.prod(axis=1).tolist()
    return [
        {"id": i + 1, "image_id": where, "category_id": what, "bbox": box, "area": areas[i]}
        | {name: values[i] for name, values in columns.items()}
        for i, (where, what, box) in enumerate(rows)
    ]


def _inside(boxes: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """Whether the area of each box is in a range, bool [T]."""
    corners = boxes.astype(np.float64)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return (area[0] <= areas) & (areas <= area[1])
