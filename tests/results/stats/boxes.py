"""Invented boxes: labelled, and found by two exits, with ignored boxes, images without boxes, and equal scores."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from results.stats.box_matching import FoundBoxes, TrueBoxes


def scenes(seed: int, *, images: int = 40, classes: int = 4, ignored: float = 0.1) -> tuple[FoundBoxes, TrueBoxes]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, max(images - 3, 1), 3 * images)  # the last images have no labelled box
    corner, side = rng.uniform(0, 100, (len(image), 2)), rng.uniform(4, 140, (len(image), 2))
    label = rng.integers(0, classes, len(image))
    truth = TrueBoxes(
        images, image, np.hstack([corner, corner + side]).astype(np.float32), label, rng.random(len(image)) < ignored
    )
    parts = []
    for exit_ in range(2):
        hit = np.repeat(np.arange(len(image)), rng.integers(0, 3, len(image)))
        moved = truth.boxes[hit] + rng.normal(size=(len(hit), 4)) * rng.choice([1, 6, 15], len(hit))[:, None]
        at = rng.uniform(0, 100, (images, 2))
        wrong = np.hstack([at, at + rng.uniform(2, 100, at.shape)])
        named = np.where(rng.random(len(hit)) < 0.8, label[hit], rng.integers(0, classes + 1, len(hit)))
        names = np.concatenate([named, rng.integers(0, classes + 1, images)])
        where = np.concatenate([image[hit], rng.integers(0, images, images)])
        scores = rng.random(len(names)).round(2)  # some are equal
        parts.append((np.full(len(names), exit_), where, np.vstack([moved, wrong]), scores, names))
    exits, where, boxes, score, names = (np.concatenate(column) for column in zip(*parts, strict=True))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return FoundBoxes(exits, where, boxes.astype(np.float32), score.astype(np.float32), names), truth


def only(found: FoundBoxes, truth: TrueBoxes, images: np.ndarray) -> tuple[FoundBoxes, TrueBoxes]:
    """The boxes of some images, which may be repeated, in this order."""
    rows = [
        (n, np.flatnonzero(found.image == image), np.flatnonzero(truth.image == image))
        for n, image in enumerate(images)
    ]
    of_found, of_truth = (np.concatenate([row[i] for row in rows]) for i in (1, 2))
    new_found, new_truth = (np.concatenate([np.full(len(row[i]), row[0]) for row in rows]) for i in (1, 2))
    return (
        FoundBoxes(
            found.exit[of_found], new_found, found.boxes[of_found], found.score[of_found], found.label[of_found]
        ),
        TrueBoxes(len(images), new_truth, truth.boxes[of_truth], truth.label[of_truth], truth.ignored[of_truth]),
    )


def reference(found: FoundBoxes, truth: TrueBoxes, taken: np.ndarray) -> dict[str, float]:
    """The numbers that pycocotools prints for the exits ``taken``, by its own path from boxes to numbers."""
    kept = np.flatnonzero(found.exit == taken[found.image])
    classes = range(int(max(found.label.max(), truth.label.max())) + 1)
    labelled = COCO()
    labelled.dataset = {
        "images": [{"id": n} for n in range(truth.images)], "categories": [{"id": c} for c in classes],
        "annotations": [
            {
                "id": n + 1, "image_id": int(truth.image[n]), "category_id": int(truth.label[n]),
                "bbox": _xywh(truth.boxes[n]), "area": float(np.prod(_xywh(truth.boxes[n])[2:])),
                "iscrowd": int(truth.ignored[n]),
            }
            for n in range(len(truth.image))
        ],
    }  # fmt: skip
    answers = [
        {
            "image_id": int(found.image[n]), "category_id": int(found.label[n]), "bbox": _xywh(found.boxes[n]),
            "score": float(found.score[n]),
        }
        for n in kept
    ]  # fmt: skip
    with redirect_stdout(io.StringIO()):
        labelled.createIndex()
        evaluation = COCOeval(labelled, labelled.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = dict(enumerate(evaluation.stats.tolist()))
    return {
        "AP": numbers[0], "AP50": numbers[1], "small": numbers[3], "medium": numbers[4], "large": numbers[5],
        "AR100": numbers[8],
    }  # fmt: skip


def _xywh(box: np.ndarray) -> list[float]:
    left, top, right, bottom = box.astype(np.float64).tolist()
    return [left, top, right - left, bottom - top]
