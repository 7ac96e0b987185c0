"""Augmentation of images and their boxes together, for detection. Images are squashed to a square and never cropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.augment import Images, flip, flip_shift
from datasets.boxes import Boxes
from datasets.crops import resize

PADDING = -1
"""Class of rows of `targets` that are no boxes."""
IGNORED_BOX = -2
"""Class of ignored boxes in `targets`."""


@dataclass(frozen=True)
class BoxAugmentation:
    """One augmentation of training images with boxes.

    Attributes:
        draws: number of uniform random numbers per image.
        apply: maps (images, boxes, draws [B, draws], input size of the model) to images uint8 [B, H, W, C], whose H and W may
            differ from the input size, and `targets`.
        summary: description that is written to records.
    """

    draws: int
    apply: Callable[[Images, Boxes, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
    summary: str


def squashed(images: Images, size: int) -> np.ndarray:
    """Arrays unchanged; lists resized to ``size`` x ``size``, whatever their shape, and stacked."""
    return images if isinstance(images, np.ndarray) else np.stack([resize(image, (size, size)) for image in images])


def targets(images: Images, boxes: Boxes) -> np.ndarray:
    """Class, left, top, right and bottom of every box, as shares of the image's sides; float32 [B, M, 5] for at most M boxes.

    Rows beyond an image's boxes have the class `PADDING`, ignored boxes have `IGNORED_BOX`.

    Args:
        images: as stored, whose sizes the corners refer to.
        boxes: of these images.
    """
    rows = np.full((len(boxes), int(boxes.counts.max(initial=0)), 5), PADDING, np.float32)
    for i, image in enumerate(images):
        corners, labels, ignored = boxes.of(i)
        height, width = image.shape[:2]
        rows[i, : len(labels), 0] = np.where(ignored, IGNORED_BOX, labels)
        rows[i, : len(labels), 1:] = corners / np.array([width, height] * 2)
    return rows


def _none(images: Images, boxes: Boxes, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    return squashed(images, size), targets(images, boxes)


def _flip(images: Images, boxes: Boxes, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    rows = _moved(targets(images, boxes), draws[:, :1] < 0.5, 0.0, 0.0)  # as in `datasets.augment.flip`
    return flip(squashed(images, size), draws), rows


def _flip_shift(images: Images, boxes: Boxes, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    squares = squashed(images, size)
    up, left = (
        (draws[:, axis, None] * 3).astype(np.int64) - 1 for axis in (1, 2)
    )  # as in `datasets.augment.flip_shift`
    mirrored = draws[:, :1] < 0.5
    right = np.where(mirrored, left, -left) / squares.shape[2]
    return flip_shift(squares, draws), _moved(targets(images, boxes), mirrored, right, -up / squares.shape[1])


def _moved(rows: np.ndarray, mirrored: np.ndarray, right: np.ndarray | float, down: np.ndarray | float) -> np.ndarray:
    """`targets` of images that were mirrored, bool [B, 1], and then shifted by shares of their sides, [B, 1]; clipped."""
    classes, left, top, end, bottom = (rows[..., column] for column in range(5))
    sides = (
        np.where(mirrored, 1 - end, left) + right,
        top + down,
        np.where(mirrored, 1 - left, end) + right,
        bottom + down,
    )
    corners = np.stack(sides, -1).clip(0, 1)
    is_box = (corners[..., :2] < corners[..., 2:]).all(-1) & (classes != PADDING)
    moved = np.concatenate([classes[..., None], corners], -1)
    return np.where(is_box[..., None], moved, PADDING).astype(np.float32)


# Augmentations by their name in a recipe; those of `datasets.augment.AUGMENTATIONS` have the same names.
BOX_AUGMENTATIONS: dict[str, BoxAugmentation] = {
    "none": BoxAugmentation(0, _none, "none"),
    "flip": BoxAugmentation(1, _flip, "horizontal flip (1/2)"),
    "flip-shift": BoxAugmentation(
        3,
        _flip_shift,
        "horizontal flip (1/2), shift by -1, 0 or 1 pixels along each axis (zeros come in; boxes are clipped)",
    ),
}
