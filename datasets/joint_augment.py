"""Augmentation of images and their masks together, for segmentation. Images are squashed to a square and never cropped, except
by augmentations that say so; masks are resized by nearest neighbour, as an average of class indices would be another class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.augment import Images, flip, flip_shift
from datasets.crops import CROP_FLIP_DRAWS, crop_box, crop_flip, resize
from datasets.masks import IGNORED

Masks = np.ndarray | list[np.ndarray]  # uint8 [B, H, W], or a list of B arrays [H, W] of different sizes
SCALES = (0.5, 2.0)


@dataclass(frozen=True)
class JointAugmentation:
    """One augmentation of training images and masks.

    Attributes:
        draws: number of uniform random numbers per image.
        apply: maps (images, masks, draws [B, draws], input size of the model) to images uint8 [B, H, W, C], whose H and W may
            differ from the input size, and masks uint8 [B, size, size].
        summary: description that is written to records.
    """

    draws: int
    apply: Callable[[Images, Masks, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
    summary: str


def nearest(mask: np.ndarray, size: int) -> np.ndarray:
    """Masks [..., H, W] resized to [..., size, size]: each pixel takes the value of the stored pixel at its middle."""
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in mask.shape[-2:])
    return mask[..., rows[:, None], columns]


def squashed(images: Images, masks: Masks, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrays unchanged; lists resized to ``size`` x ``size``, whatever their shape, and stacked."""
    if not isinstance(images, np.ndarray):
        images = np.stack([resize(image, (size, size)) for image in images])
        masks = np.stack([nearest(mask, size) for mask in masks])
    return images, np.asarray(masks)


def _none(images: Images, masks: Masks, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = squashed(images, masks, size)
    return images, nearest(masks, size)


def _flip(images: Images, masks: Masks, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = squashed(images, masks, size)
    return flip(images, draws), nearest(flip(masks, draws), size)


def _flip_shift(images: Images, masks: Masks, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = squashed(images, masks, size)
    shifted = flip_shift(masks[..., None], draws, fill=IGNORED)[..., 0]
    return flip_shift(images, draws), nearest(shifted, size)


def _crop_flip(images: Images, masks: Masks, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    crops = []
    for mask, draw in zip(masks, draws, strict=True):
        top, left, height, width = crop_box(mask.shape[0], mask.shape[1], draw)
        crops.append(nearest(mask[top : top + height, left : left + width], size))
    cropped = np.stack([crop_flip(image, draw, size) for image, draw in zip(images, draws, strict=True)])
    return cropped, flip(np.stack(crops), draws[:, -1:])


def _scale_crop_flip(images: Images, masks: Masks, draws: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    image_parts, mask_parts = [], []
    for image, mask, (scale, down, right, _) in zip(images, masks, draws.tolist(), strict=True):
        side = round(size * SCALES[0] * (SCALES[1] / SCALES[0]) ** scale)
        image_parts.append(window_of(resize(image, (side, side)), size, down, right, 0))
        mask_parts.append(window_of(nearest(mask, side), size, down, right, IGNORED))
    return flip(np.stack(image_parts), draws[:, -1:]), flip(np.stack(mask_parts), draws[:, -1:])


def window_of(square: np.ndarray, size: int, down: float, right: float, fill: int) -> np.ndarray:
    """A ``size`` x ``size`` part of a larger square [side, side, ...], or a smaller square on a ground of ``fill``.

    Its place follows from ``down`` and ``right``, uniform numbers in [0, 1).
    """
    spare = abs(len(square) - size) + 1
    top, left = int(down * spare), int(right * spare)
    if len(square) >= size:
        return square[top : top + size, left : left + size]
    ground = np.full((size, size, *square.shape[2:]), fill, square.dtype)
    ground[top : top + len(square), left : left + len(square)] = square
    return ground


# Augmentations by their name in a recipe; those of `datasets.augment.AUGMENTATIONS` have the same names.
JOINT_AUGMENTATIONS: dict[str, JointAugmentation] = {
    "none": JointAugmentation(0, _none, "none"),
    "flip": JointAugmentation(1, _flip, "horizontal flip (1/2)"),
    "flip-shift": JointAugmentation(
        3,
        _flip_shift,
        "horizontal flip (1/2), shift by -1, 0 or 1 pixels along each axis (zeros come in, which are ignored)",
    ),
    "crop-flip": JointAugmentation(
        CROP_FLIP_DRAWS,
        _crop_flip,
        "random resized crop (8-100 % of the area, ratio 3/4-4/3, bilinear with antialiasing), horizontal flip (1/2)",
    ),
    "scale-crop-flip": JointAugmentation(
        4,
        _scale_crop_flip,
        "random scale (0.5-2, log-uniform), random place (zeros come in, which are ignored), horizontal flip (1/2)",
    ),
}
