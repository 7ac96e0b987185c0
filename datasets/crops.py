"""Square cuts of one image of any size, resized bilinearly by PIL with antialiasing, as torchvision does it on files."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
# Uniform numbers that a random crop with a flip reads.
CROP_FLIP_DRAWS = 4 * ATTEMPTS + 1


def resize_center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The shorter side resized to ``size``, then the middle square: uint8 [H, W, C] to [size, size, C]."""
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    longer = int(size * long / short)
    resized = _resize(image, (size, longer) if width <= height else (longer, size))
    top, left = (round((side - size) / 2) for side in resized.shape[:2])
    return resized[top : top + size, left : left + size]


def crop_flip(image: np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
    """A random part of the image, resized to a square, and flipped horizontally with probability one half.

    The part has 8 to 100 % of the area and sides of 3:4 to 4:3 (log-uniform). Ten attempts are made to place it; then it is
    the middle, as large as the ratios allow. These are the rules of torchvision's RandomResizedCrop.

    Args:
        image: uint8 [H, W, C].
        draws: `CROP_FLIP_DRAWS` uniform numbers in [0, 1).
        size: side of the result.
    """
    top, left, height, width = _part(image.shape[0], image.shape[1], draws)
    cut = _resize(image[top : top + height, left : left + width], (size, size))
    return cut[:, ::-1] if draws[-1] < 0.5 else cut


def _part(height: int, width: int, draws: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part."""
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for area, ratio, down, right in draws[: 4 * ATTEMPTS].reshape(ATTEMPTS, 4).tolist():
        pixels = height * width * (AREA[0] + area * (AREA[1] - AREA[0]))
        aspect = math.exp(low + ratio * (high - low))
        wide, tall = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            return int(down * (height - tall + 1)), int(right * (width - wide + 1)), tall, wide
    tall, wide = height, width
    if width / height < RATIO[0]:
        tall = min(height, max(1, round(width / RATIO[0])))
    elif width / height > RATIO[1]:
        wide = min(width, max(1, round(height * RATIO[1])))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (width, height)."""
    grey = image.shape[2] == 1
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image))
    resized = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
    return resized[..., None] if grey else resized
