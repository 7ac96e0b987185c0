"""Square crops of one image of any size, resized by PIL (bilinear, antialiased) as in torchvision's transforms."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
# Number of uniform random numbers that `crop_flip` uses.
CROP_FLIP_DRAWS = 4 * ATTEMPTS + 1


def resize_center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side to ``size`` and crop the center: uint8 [H, W, C] to [size, size, C]."""
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    longer = int(size * long / short)
    resized = resize(image, (size, longer) if width <= height else (longer, size))
    top, left = (round((side - size) / 2) for side in resized.shape[:2])
    return resized[top : top + size, left : left + size]


def crop_flip(image: np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
    """A random crop, resized to a square, and flipped horizontally with probability 1/2.

    The crop covers 8 to 100 % of the area with an aspect ratio of 3:4 to 4:3 (log-uniform). If ten random crops do not fit
    into the image, the largest center crop with an allowed ratio is used. These are the rules of torchvision's
    RandomResizedCrop.

    Args:
        image: uint8 [H, W, C].
        draws: `CROP_FLIP_DRAWS` uniform random numbers in [0, 1).
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, C].
    """
    top, left, height, width = crop_box(image.shape[0], image.shape[1], draws)
    crop = resize(image[top : top + height, left : left + width], (size, size))
    return crop[:, ::-1] if draws[-1] < 0.5 else crop


def crop_box(height: int, width: int, draws: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of the random crop of `crop_flip`, in pixels."""
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for area, ratio, down, right in draws[: 4 * ATTEMPTS].reshape(ATTEMPTS, 4).tolist():
        pixels = height * width * (AREA[0] + area * (AREA[1] - AREA[0]))
        aspect = math.exp(low + ratio * (high - low))
        crop_width, crop_height = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top, left = int(down * (height - crop_height + 1)), int(right * (width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_height, crop_width = height, width
    if width / height < RATIO[0]:
        crop_height = min(height, max(1, round(width / RATIO[0])))
    elif width / height > RATIO[1]:
        crop_width = min(width, max(1, round(height * RATIO[1])))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image uint8 [H, W, C] resized to ``size``, (width, height)."""
    grey = image.shape[2] == 1
    pil_image = Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image))
    resized = np.asarray(pil_image.resize(size, Image.Resampling.BILINEAR))
    return resized[..., None] if grey else resized
