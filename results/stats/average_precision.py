"""Average precision (AP) of COCO from matched boxes, and its value per image for paired statistics.

AP is the mean over classes with labelled boxes, over ten IoU thresholds from 0.5 to 0.95, and over 101 recalls from 0 to 1, of
the largest precision that is reached at this recall or above. It is no sum over images, because the boxes of all images are
ordered by their scores. So a value per image comes from leaving the image out.
"""

from __future__ import annotations

import numpy as np

from results.stats.box_matching import BITS, IOU_THRESHOLDS, ClassMatches, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
CHUNK = 4_000_000
"""Numbers in the largest array at a time."""
EXACT = 100_000
"""Up to this product of images and right boxes of a class, its AP without each image is exact, above to first order."""


def precision_by_class(matches: Matches, taken: np.ndarray) -> np.ndarray:
    """AP of each class at each IoU threshold, [C, 10]; its mean is the AP, and that of the first column AP50.

    Args:
        matches: of E exits in N images.
        taken: the exit of each image, [N].
    """
    by_class = [_weighted(one, *_rows_at(one, matches, taken))[:, 0] for one in matches.classes]
    return np.array(by_class).reshape(-1, len(IOU_THRESHOLDS))


def average_precision(matches: Matches, taken: np.ndarray) -> float:
    """AP where each image leaves at the exit ``taken`` [N]; NaN without a labelled box."""
    return mean_precision(precision_by_class(matches, taken))


def mean_precision(by_class: np.ndarray) -> float:
    """AP from `precision_by_class`, [C, 10]; NaN without a labelled box."""
    return float(by_class.mean()) if len(by_class) else float("nan")


def recall(matches: Matches, taken: np.ndarray) -> float:
    """AR100: the share of labelled boxes that are found, mean over classes and IoU thresholds; NaN without a labelled box."""
    shares = [right_boxes(one, matches, taken) / one.positives.sum() for one in matches.classes]
    return float(np.mean(shares)) if shares else float("nan")


def right_boxes(one: ClassMatches, matches: Matches, taken: np.ndarray) -> np.ndarray:
    """Number of labelled boxes of a class that the images' exits, [N], find, by IoU threshold, [10]."""
    return one.by_threshold(_rows_at(one, matches, taken)[0])[0].sum(axis=1)


def pooled_precision(matches: Matches, weights: np.ndarray) -> float:
    """AP of all exits together, in which the boxes that an exit finds in an image count with a weight.

    Args:
        matches: of E exits in N images.
        weights: [E, N]. The labelled boxes of an image have the sum of its weights. Images without weight are left out.
    """
    of_class = []
    for one in matches.classes:
        rows = np.flatnonzero(weights[one.exit, one.image] > 0)
        positives = (one.positives * weights.sum(axis=0)).sum(keepdims=True)
        if positives[0] > 0:
            of_class.append(_weighted(one, rows, weights[one.exit, one.image][rows, None], positives).mean())
    return float(np.mean(of_class)) if of_class else float("nan")


def precision_of_draws(matches: Matches, taken: np.ndarray, times: np.ndarray) -> np.ndarray:
    """AP on D draws of the images, [D]; NaN where a draw has no labelled box.

    Args:
        matches: of E exits in N images.
        taken: the exit of each image, [N].
        times: how often each image is in each draw, float64 [N, D].
    """
    total, classes = np.zeros(times.shape[1]), np.zeros(times.shape[1])
    for one in matches.classes:
        rows, _, _ = _rows_at(one, matches, taken)
        positives = one.positives @ times
        drawn = positives > 0
        total[drawn] += _weighted(one, rows, times[one.image[rows]][:, drawn], positives[drawn]).mean(axis=0)
        classes += drawn
    return np.where(classes > 0, total / np.maximum(classes, 1), np.nan)


def pseudo_values(matches: Matches, taken: np.ndarray) -> np.ndarray:
    """One value per image whose mean is exactly the AP and whose spread gives its standard error, [N].

    v_n = N * AP - (N - 1) * AP without image n, moved by a constant so that their mean is AP (jackknife; Efron, The Jackknife,
    the Bootstrap and Other Resampling Plans, 1982). Only the classes of an image change without it; large ones are
    computed to first order (`_to_first_order`), which takes a hundredth of the time. A class all of whose labelled boxes are in
    one image is missing without it. Single values may lie outside [0, 1].
    """
    images, by_class = matches.images, precision_by_class(matches, taken)
    total, classes = np.zeros(images), np.zeros(images)
    for one, precision in zip(matches.classes, by_class, strict=True):
        rows, _, _ = _rows_at(one, matches, taken)
        touched = np.union1d(one.image[rows], np.flatnonzero(one.positives))
        remain = one.positives.sum() - one.positives > 0
        without = np.full(images, precision.mean())
        if len(touched) * np.count_nonzero(one.right[rows] & BITS[0]) <= EXACT:
            without[touched] = _without_each(one, rows, touched)
        else:
            without[touched] += _to_first_order(one, rows, touched)
        total += np.where(remain, without, 0.0)
        classes += remain
    whole = mean_precision(by_class)
    without_image = np.where(classes > 0, total / np.maximum(classes, 1), whole)
    values = images * whole - (images - 1) * without_image
    return values + (whole - values.mean())


def _rows_at(one: ClassMatches, matches: Matches, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of the exits that images take, [R], weights of 1 [R, 1], and the number of labelled boxes [1]."""
    rows = np.flatnonzero(one.exit == (taken % matches.exits)[one.image])
    return rows, np.ones((len(rows), 1)), one.positives.sum(keepdims=True).astype(np.float64)


def _weighted(one: ClassMatches, rows: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """AP at each IoU threshold for D sets of weights, [10, D].

    Args:
        one: a class.
        rows: of found boxes, [R].
        weights: of these rows, [R, D].
        positives: weight of the labelled boxes, [D], above zero.
    """
    seen = weights.cumsum(axis=0)
    precision = []
    for right, counted in zip(*one.by_threshold(rows), strict=True):
        at, uncounted = np.flatnonzero(right), np.flatnonzero(~counted)
        number = seen[at]
        if len(uncounted):  # few: those in ignored boxes
            left_out = np.vstack([np.zeros_like(weights[:1]), weights[uncounted].cumsum(axis=0)])
            number = number - left_out[np.searchsorted(uncounted, at)]
        precision.append(_area(weights[at].cumsum(axis=0).T, number.T, positives))
    return np.array(precision)


def _without_each(one: ClassMatches, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The class's AP without each of I images, mean over the IoU thresholds, [I]; any number where no labelled box remains.

    Args:
        one: a class.
        rows: of found boxes, [R].
        images: in ascending order, [I].
    """
    whose = np.searchsorted(images, one.image[rows])
    remaining = np.maximum(one.positives.sum() - one.positives[images], 1).astype(np.float64)
    precision = np.zeros(len(images))
    for right, counted in zip(*one.by_threshold(rows), strict=True):
        at = np.flatnonzero(right)
        rights, numbers = np.arange(1, len(at) + 1), counted.cumsum()[at]
        before = np.searchsorted(at, np.flatnonzero(counted))  # the first right box at or after each box that counts
        step = max(1, CHUNK // max(len(at), 1))
        for start in range(0, len(images), step):
            some = slice(start, min(start + step, len(images)))
            own_rights = _cumulated(whose[at], np.arange(len(at)), some, len(at))
            own_numbers = _cumulated(whose[counted], before, some, len(at))
            precision[some] += _area(rights - own_rights, numbers - own_numbers, remaining[some])
    return precision / len(IOU_THRESHOLDS)


def _to_first_order(one: ClassMatches, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """How much the class's AP changes without each of I images, to first order, mean over the IoU thresholds, [I].

    The best precision at a recall is that at one right box; without the image, it changes by the image's boxes above this one.
    And the recall is reached at another box, where the best precision differs by its slope.

    Args:
        one: a class.
        rows: of found boxes, [R].
        images: in ascending order, [I].
    """
    whose, positives = np.searchsorted(images, one.image[rows]), one.positives.sum()
    change = np.zeros(len(images))
    for right, counted in zip(*one.by_threshold(rows), strict=True):
        at = np.flatnonzero(right)
        count = len(at)
        if not count:
            continue
        numbers = counted.cumsum()[at]
        precision = np.arange(1, count + 1) / numbers
        best = np.maximum.accumulate(precision[::-1])[::-1]
        at_best = np.minimum.accumulate(np.where(precision == best, np.arange(count), count)[::-1])[::-1]
        recall_at = np.arange(1, count + 1) / positives
        share = np.diff(np.searchsorted(RECALLS, recall_at, side="right"), prepend=0) / len(RECALLS)
        # Sums over the recalls whose best precision is at a right box or after it, [count].
        of_number = _from_here(at_best, share * precision[at_best] / numbers[at_best], count)
        of_right = _from_here(at_best, share / numbers[at_best], count)
        first = np.searchsorted(recall_at, RECALLS)
        slope = np.gradient(np.where(first < count, best[np.minimum(first, count - 1)], 0.0), RECALLS) / len(RECALLS)
        later = np.append(slope[::-1].cumsum()[::-1], 0.0)[np.searchsorted(RECALLS, recall_at)] / positives
        place = np.searchsorted(at, np.flatnonzero(counted))
        before = place < count
        change += np.bincount(whose[counted][before], of_number[place[before]], minlength=len(images))
        change += np.bincount(whose[at], later - of_right, minlength=len(images))
        change -= one.positives[images] * (RECALLS @ slope) / positives
    return change / len(IOU_THRESHOLDS)


def _from_here(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """For each place, the sum of the values at this place or later, [count]."""
    return np.bincount(place, values, minlength=count)[::-1].cumsum()[::-1]


def _cumulated(whose: np.ndarray, place: np.ndarray, some: slice, places: int) -> np.ndarray:
    """For each of some images, how many of its boxes are at each place or before, [I, P]."""
    here = (whose >= some.start) & (whose < some.stop) & (place < places)
    counts = np.zeros((some.stop - some.start, places))
    np.add.at(counts, (whose[here] - some.start, place[here]), 1)
    return counts.cumsum(axis=1)


def _area(rights: np.ndarray, numbers: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Mean over `RECALLS` of the largest precision at the recall or above, [...].

    Precision and recall are needed at the boxes that are right only: between them recall stays and precision falls.

    Args:
        rights: right boxes up to each right box, ascending along the last axis, [..., P].
        numbers: likewise of all boxes that count.
        positives: [...].
    """
    precision = rights / np.maximum(numbers, 1e-300)
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    reached = np.searchsorted(RECALLS, rights / positives[..., None], side="right")  # number of recalls up to this one
    return (np.diff(reached, prepend=0, axis=-1) * best).sum(axis=-1) / len(RECALLS)
