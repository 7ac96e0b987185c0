"""Augmentation as a function of (seed, epoch, sample id), independent of workers, batch size and resuming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.crops import CROP_FLIP_DRAWS, crop_flip, resize_center_crop

Images = np.ndarray | list[np.ndarray]  # uint8 [B, H, W, C], or a list of B arrays [H, W, C] of different sizes


@dataclass(frozen=True)
class Augmentation:
    """One augmentation of training images.

    Attributes:
        draws: number of uniform random numbers per image.
        apply: maps (images, draws [B, draws], input size of the model) to uint8 [B, H, W, C]; H and W may differ from the
            input size.
        summary: description that is written to records.
    """

    draws: int
    apply: Callable[[Images, np.ndarray, int], np.ndarray]
    summary: str


def square(images: Images, size: int) -> np.ndarray:
    """Square images of one size unchanged; others resized and center-cropped to ``size`` x ``size``."""
    if isinstance(images, np.ndarray) and images.shape[1] == images.shape[2]:
        return images
    return np.stack([resize_center_crop(image, size) for image in images])


def flip_shift(images: np.ndarray, draws: np.ndarray, fill: int = 0) -> np.ndarray:
    """Horizontal flip with probability 1/2, and a shift by -1, 0 or 1 pixels along each axis, padded with ``fill``.

    Args:
        images: uint8 [B, H, W, C].
        draws: uniform numbers in [0, 1), [B, 3].
    """
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
    offsets = (draws[:, 1:] * 3).astype(np.int64)
    rows = offsets[:, :1] + np.arange(height)
    columns = offsets[:, 1:] + np.arange(width)
    columns = np.where(draws[:, :1] < 0.5, columns[:, ::-1], columns)
    return padded[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def flip(images: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Horizontal flip of images [B, H, W, ...] with probability 1/2; ``draws`` are uniform numbers in [0, 1), [B, 1]."""
    chosen = (draws[:, 0] < 0.5).reshape(-1, *[1] * (images.ndim - 1))
    return np.where(chosen, images[:, :, ::-1], images)


def _crop_flip(images: Sequence[np.ndarray] | np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
    return np.stack([crop_flip(image, draw, size) for image, draw in zip(images, draws, strict=True)])


# Augmentations by their name in a recipe.
AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(0, lambda images, draws, size: square(images, size), "none"),
    "flip": Augmentation(1, lambda images, draws, size: flip(square(images, size), draws), "horizontal flip (1/2)"),
    "flip-shift": Augmentation(
        3,
        lambda images, draws, size: flip_shift(square(images, size), draws),
        "horizontal flip (1/2), shift by -1, 0 or 1 pixels along each axis (zeros come in), at the stored size",
    ),
    "crop-flip": Augmentation(
        CROP_FLIP_DRAWS,
        _crop_flip,
        "random resized crop (8-100 % of the area, ratio 3/4-4/3, bilinear with antialiasing), horizontal flip (1/2)",
    ),
}


def sample_draws(stream: int, sample_id: np.ndarray, count: int) -> np.ndarray:
    """``count`` uniform random numbers in [0, 1) per sample, [B, count], from one generator per (stream, sample id).

    ``stream`` is a 64-bit number derived from seed and epoch.
    """
    if not count:
        return np.empty((len(sample_id), 0))
    keys = np.stack([np.full(len(sample_id), stream, np.uint64), sample_id.astype(np.uint64)], axis=1)
    return np.stack([np.random.Generator(np.random.Philox(key=key)).random(count) for key in keys])


def batch_draw(stream: int, sample_id: np.ndarray) -> float:
    """A uniform random number in [0, 1) for a batch, from a generator seeded by (stream, sample ids in order)."""
    return float(np.random.default_rng([stream, *sample_id.tolist()]).random())
