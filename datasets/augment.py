"""Augmentation as a function of (seed, epoch, sample id): workers, batches and resumes cannot change it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def flip_shift(images: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Horizontal flip with probability one half, and a shift by -1, 0 or 1 pixels along each axis, zeros coming in.

    Args:
        images: uint8 [B, H, W, C].
        draws: uniform numbers in [0, 1), [B, 3].
    """
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = (draws[:, 1:] * 3).astype(np.int64)
    rows = offsets[:, :1] + np.arange(height)
    columns = offsets[:, 1:] + np.arange(width)
    columns = np.where(draws[:, :1] < 0.5, columns[:, ::-1], columns)
    return padded[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


# Name in a recipe: (uniform numbers that one image needs, the function).
AUGMENTATIONS: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "none": (0, lambda images, draws: images),
    "flip-shift": (3, flip_shift),
}


def sample_draws(stream: int, sample_id: np.ndarray, count: int) -> np.ndarray:
    """``count`` uniform numbers in [0, 1) for each sample, [B, count], from one generator per (stream, sample id).

    ``stream`` is a 64-bit number that stands for seed and epoch.
    """
    keys = np.stack([np.full(len(sample_id), stream, np.uint64), sample_id.astype(np.uint64)], axis=1)
    return np.stack([np.random.Generator(np.random.Philox(key=key)).random(count) for key in keys])
