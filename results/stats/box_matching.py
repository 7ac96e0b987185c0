"""Boxes that exits find, matched with labelled boxes by pycocotools, class by class and image by image.

The matches of an image do not depend on other images. They are found once for every exit, and the average precision of any
choice of exits follows from them (`results.stats.average_precision`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)
"""Of each threshold, in numbers that hold a truth value for every one: a report has all boxes of all runs in memory."""
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
        right: whether the box is matched with a labelled box that counts, in the `BITS` of the thresholds, uint16 [R].
        counted: whether it counts, likewise. A box matched with an ignored one does not, and neither does an unmatched box
            whose area is outside the range.
        positives: labelled boxes that count, of each image, int [N].
    """

    label: int
    image: np.ndarray
    exit: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    positives: np.ndarray

    def by_threshold(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether the boxes in some rows, [D], are right, and whether they count, bool [10, D] each."""
        return (self.right[rows] & BITS[:, None]) > 0, (self.counted[rows] & BITS[:, None]) > 0


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


def match(found: FoundBoxes, truth: TrueBoxes, exits: int) -> Matches:
    """Match the boxes of every exit with the labelled boxes.

    Args:
        found: at most 100 for an exit and image; exits from 0 to E - 1.
        truth: of the same images.
        exits: E.
    """
    return match_in_areas(found, truth, exits, (ALL,))[0]


def match_in_areas(
    found: FoundBoxes, truth: TrueBoxes, exits: int, areas: Sequence[tuple[float, float]]
) -> list[Matches]:
    """`match` for each of several ranges: smallest and largest area of the labelled boxes that count."""
    right, counted = _matched(found, truth, exits, areas)
    counts = [~truth.ignored.astype(bool) & _inside(truth.boxes, area) for area in areas]
    order = np.lexsort((found.image, -found.score.astype(np.float64), found.label))  # falling scores, then images
    labels = found.label[order]
    classes: list[list[ClassMatches]] = [[] for _ in areas]
    for label in np.unique(truth.label):
        rows = order[np.searchsorted(labels, label) : np.searchsorted(labels, label, side="right")]
        image, exit_ = found.image[rows], found.exit[rows]  # the same arrays for all ranges
        for a in range(len(areas)):
            shown = truth.image[counts[a] & (truth.label == label)]
            if len(shown):
                positives = np.bincount(shown, minlength=truth.images).astype(np.int32)
                classes[a].append(ClassMatches(int(label), image, exit_, right[a, rows], counted[a, rows], positives))
    return [Matches(truth.images, exits, tuple(of_area)) for of_area in classes]


def _matched(
    found: FoundBoxes, truth: TrueBoxes, exits: int, areas: Sequence[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """`right` and `counted` of the M found boxes in each of A ranges, uint16 [A, M]."""
    inside = np.stack([_inside(found.boxes, area) for area in areas])
    counted = inside * BITS.sum(dtype=BITS.dtype)
    right = np.zeros_like(counted)
    found_pair, true_pair = _pairs(found, truth)
    for exit_index in range(exits):
        rows = np.flatnonzero(found.exit == exit_index)
        rows = rows[_may_match(found.part(rows), found_pair[rows], truth, true_pair)]
        for a, ids, is_right, is_counted in _of_exit(found.part(rows), found_pair[rows], truth, true_pair, areas):
            right[a, rows[ids]], counted[a, rows[ids]] = BITS @ is_right, BITS @ is_counted
    return right, counted


def _pairs(found: FoundBoxes, truth: TrueBoxes) -> tuple[np.ndarray, np.ndarray]:
    """The number of the pair of image and class of each found box, [M], and of each labelled one, [T]; below M + T."""
    keys = np.concatenate([boxes.image.astype(np.int64) * MANY + boxes.label for boxes in (found, truth)])
    pair = np.unique(keys, return_inverse=True)[1]
    return pair[: len(found.image)], pair[len(found.image) :]


def _may_match(found: FoundBoxes, found_pair: np.ndarray, truth: TrueBoxes, true_pair: np.ndarray) -> np.ndarray:
    """Whether each found box overlaps enough with a labelled one of its image and class, but for rounding, bool [D].

    The other boxes, which are most, match nothing and need no library.
    """
    order = np.argsort(true_pair)
    first, last = (np.searchsorted(true_pair[order], found_pair, side=side) for side in ("left", "right"))
    one = np.repeat(np.arange(len(found_pair)), last - first)  # each found box with each labelled one
    two = order[np.arange(len(one)) + np.repeat(last - (last - first).cumsum(), last - first)]
    boxes, others = found.boxes[one].astype(np.float64), truth.boxes[two].astype(np.float64)
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    common = sides.clip(0).prod(axis=1)
    union = _areas(boxes) + np.where(truth.ignored[two], 0.0, _areas(others) - common)
    return np.bincount(one, common > (IOU_THRESHOLDS[0] - 0.01) * union, len(found_pair)) > 0


def _of_exit(
    found: FoundBoxes,
    found_pair: np.ndarray,
    truth: TrueBoxes,
    true_pair: np.ndarray,
    areas: Sequence[tuple[float, float]],
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """For each range, image and class with found boxes: index of the range, positions [D], right and counted, bool [10, D].

    A pair of image and class is an image of pycocotools, which would also go through all pairs without boxes.
    """
    labelled, detected = COCO(), COCO()
    images, categories = [{"id": pair} for pair in np.unique(found_pair).tolist()], [{"id": 0}]
    here = np.flatnonzero(np.isin(true_pair, found_pair))
    labelled.dataset = {
        "images": images, "categories": categories,
        "annotations": _annotations(true_pair[here], truth.boxes[here], iscrowd=truth.ignored[here].astype(int)),
    }  # fmt: skip
    detected.dataset = {
        "images": images, "categories": categories,
        "annotations": _annotations(found_pair, found.boxes, score=found.score.astype(float)),
    }  # fmt: skip
    with redirect_stdout(io.StringIO()):  # pycocotools reports its progress
        labelled.createIndex()
        detected.createIndex()
        evaluation = COCOeval(labelled, detected, "bbox")
        evaluation.params.iouThrs, evaluation.params.areaRng = IOU_THRESHOLDS, [list(area) for area in areas]
        evaluation.evaluate()
    for n, one in enumerate(evaluation.evalImgs):
        counted = ~one["dtIgnore"].astype(bool)
        yield n // len(images), np.array(one["dtIds"]) - 1, (one["dtMatches"] > 0) & counted, counted


def _annotations(pair: np.ndarray, boxes: np.ndarray, **more: np.ndarray) -> list[dict[str, object]]:
    """Boxes in pycocotools' form; ids start at 1, because 0 stands for no match."""
    corners = boxes.astype(np.float64)
    columns = {name: values.tolist() for name, values in more.items()}
    bbox = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    rows = zip(pair.tolist(), bbox.tolist(), _areas(corners).tolist(), strict=True)
    return [
        {"id": i + 1, "image_id": where, "category_id": 0, "bbox": box, "area": area}
        | {name: values[i] for name, values in columns.items()}
        for i, (where, box, area) in enumerate(rows)
    ]


def _inside(boxes: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """Whether the area of each box is in a range, bool [T]."""
    areas = _areas(boxes)
    return (area[0] <= areas) & (areas <= area[1])


def _areas(boxes: np.ndarray) -> np.ndarray:
    corners = boxes.astype(np.float64)
    areas: np.ndarray = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return areas
