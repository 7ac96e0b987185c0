"""The fifteen common corruptions of test images, on arrays.

The kinds follow Hendrycks and Dietterich, ICLR 2019 (arXiv 1903.12261). The severities are modelled on CIFAR-10-C for images
with a shorter side of up to 64 pixels, and on ImageNet-C for larger ones. Code and severities were not compared with the
published ones, so results are not those on the published sets. Frost has crystals of noise instead of photographs of frost.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image
from scipy import ndimage

from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles, ImageList
from datasets.shift import CORRUPTIONS, Corruption

SMALL = 64
Generator = np.random.Generator


def corrupted(split: ImageSplit, corruption: Corruption) -> ImageSplit:
    """The split with every image corrupted. The random numbers of an image depend on its sample id only.

    Raises:
        DataError: the images are too many to be held in memory.
    """
    images = split.images
    if isinstance(images, ImageFiles):
        raise DataError(
            f"corruption {corruption.name} needs the test images in memory, and these {len(images):,} are too large; "
            "reduce the test split in the grid"
        )
    arrays = images.arrays if isinstance(images, ImageList) else images
    changed = [
        corrupt(image, corruption, int(sample)) for image, sample in zip(arrays, split.sample_id.tolist(), strict=True)
    ]
    result = ImageList(tuple(changed)) if isinstance(images, ImageList) else np.stack(changed)
    return replace(split, images=result)


def corrupt(image: np.ndarray, corruption: Corruption, sample: int) -> np.ndarray:
    """One image uint8 [H, W, C], corrupted; ``sample`` and the corruption's name seed its random numbers."""
    generator = np.random.default_rng([CORRUPTIONS.index(corruption.name), sample % 2**63])
    small, large = PARAMETERS[corruption.name]
    parameters = (small if min(image.shape[:2]) <= SMALL else large)[corruption.severity - 1]
    values = KINDS[corruption.name](image / 255.0, parameters, generator)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def gaussian_noise(x: np.ndarray, scale: float, generator: Generator) -> np.ndarray:
    return x + generator.normal(0, scale, x.shape)


def shot_noise(x: np.ndarray, photons: float, generator: Generator) -> np.ndarray:
    return generator.poisson(x * photons) / photons


def impulse_noise(x: np.ndarray, share: float, generator: Generator) -> np.ndarray:
    """Salt and pepper: a share of the values becomes 0 or 1."""
    hit = generator.random(x.shape) < share
    return np.where(hit, generator.integers(0, 2, x.shape), x)


def defocus_blur(x: np.ndarray, parameters: tuple[float, float], generator: Generator) -> np.ndarray:
    """Convolution with a disk of a radius in pixels, whose edge is smoothed."""
    radius, smooth = parameters
    reach = int(np.ceil(radius + 2 * smooth))
    grid = np.arange(-reach, reach + 1)
    disk = (grid[:, None] ** 2 + grid[None] ** 2 <= radius**2).astype(float)
    return _convolved(x, ndimage.gaussian_filter(disk, smooth))


def glass_blur(x: np.ndarray, parameters: tuple[float, int, int], generator: Generator) -> np.ndarray:
    """Pixels exchange their places with near ones, between two Gaussian blurs."""
    sigma, distance, rounds = parameters
    x = _blurred(x, sigma).copy()
    height, width = x.shape[:2]
    for _ in range(rounds):
        offsets = generator.integers(-distance, distance + 1, (height, width, 2))
        for row in range(height - distance - 1, distance, -1):
            for column in range(width - distance - 1, distance, -1):
                other = row + offsets[row, column, 0], column + offsets[row, column, 1]
                x[row, column], x[other] = x[other].copy(), x[row, column].copy()
    return _blurred(x, sigma)


def motion_blur(x: np.ndarray, parameters: tuple[float, float], generator: Generator) -> np.ndarray:
    radius, sigma = parameters
    return _motion(x, radius, sigma, generator.uniform(-45, 45))


def zoom_blur(x: np.ndarray, factors: tuple[float, ...], generator: Generator) -> np.ndarray:
    """The mean of the image and its enlargements by several factors."""
    return np.mean([x, *(_zoomed(x, factor) for factor in factors)], axis=0)


def snow(x: np.ndarray, parameters: tuple[float, ...], generator: Generator) -> np.ndarray:
    """Bright flakes, blurred along their fall, over a whitened image."""
    mean, deviation, zoom, threshold, radius, sigma, weight = parameters
    flakes = _zoomed(generator.normal(mean, deviation, x.shape[:2])[..., None], zoom)
    flakes = np.where(flakes < threshold, 0, np.clip(flakes, 0, 1))
    flakes = _motion(flakes, radius, sigma, generator.uniform(-135, -45))
    grey = x.mean(-1, keepdims=True)
    whitened = weight * x + (1 - weight) * np.maximum(x, grey * 1.5 + 0.5)
    return whitened + flakes + flakes[::-1, ::-1]


def frost(x: np.ndarray, parameters: tuple[float, float], generator: Generator) -> np.ndarray:
    """A bluish layer with sharp crystals of noise, instead of the photographs of ImageNet-C."""
    own, layer = parameters
    crystals = np.abs(_clouds(x.shape[:2], 1.5, generator) - 0.5) * 2
    crystals = np.clip((1 - crystals) ** 3 + 0.25, 0, 1)
    tint = np.array([0.85, 0.93, 1.0]) if x.shape[-1] == 3 else np.ones(x.shape[-1])
    return own * x + layer * crystals[..., None] * tint


def fog(x: np.ndarray, parameters: tuple[float, float], generator: Generator) -> np.ndarray:
    """Clouds of fractal noise, and less contrast."""
    amount, decay = parameters
    largest = x.max()
    return (x + amount * _clouds(x.shape[:2], decay, generator)[..., None]) * largest / (largest + amount)


def brightness(x: np.ndarray, amount: float, generator: Generator) -> np.ndarray:
    """A larger value in the colour space HSV, where value is the largest channel."""
    value = x.max(-1, keepdims=True)
    brighter = np.clip(value + amount, 0, 1)
    return np.where(value > 0, x * brighter / np.maximum(value, 1e-12), brighter)


def contrast(x: np.ndarray, factor: float, generator: Generator) -> np.ndarray:
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * factor + mean


def elastic_transform(x: np.ndarray, parameters: tuple[float, float, float], generator: Generator) -> np.ndarray:
    """A random affine map and a smooth random displacement; the parameters are shares of the shorter side."""
    side = min(x.shape[:2])
    strength, sigma, corners = (side * parameter for parameter in parameters)
    matrix = np.eye(2) + generator.uniform(-corners, corners, (2, 2)) / side
    centre = (np.array(x.shape[:2]) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, x.shape[:2]), indexing="ij")).astype(float)
    places = np.tensordot(matrix, grid - centre[:, None, None], 1) + centre[:, None, None]
    noise = generator.uniform(-1, 1, grid.shape)
    places += strength * np.stack([ndimage.gaussian_filter(axis, max(sigma, 0.5), mode="reflect") for axis in noise])
    return np.stack(
        [ndimage.map_coordinates(x[..., c], places, order=1, mode="reflect") for c in range(x.shape[-1])], -1
    )


def pixelate(x: np.ndarray, share: float, generator: Generator) -> np.ndarray:
    height, width = x.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))

    def change(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)

    return _by_channel(x, change)


def jpeg_compression(x: np.ndarray, quality: int, generator: Generator) -> np.ndarray:
    pixels = (x * 255 + 0.5).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if x.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as stored:
        return np.asarray(stored).reshape(x.shape) / 255.0


def _by_channel(x: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    channels = [np.asarray(change(Image.fromarray(x[..., c].astype(np.float32), "F"))) for c in range(x.shape[-1])]
    return np.stack(channels, -1).astype(float)


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def _convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return ndimage.convolve(x, kernel[..., None] / kernel.sum(), mode="reflect")


def _motion(x: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    """Convolution with one half of a Gaussian along a line."""
    reach = int(radius)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    direction = np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    for distance in range(reach + 1):
        row, column = np.rint(reach + distance * direction).astype(int)
        kernel[row, column] += np.exp(-(distance**2) / (2 * sigma**2))
    return _convolved(x, kernel)


def _zoomed(x: np.ndarray, factor: float) -> np.ndarray:
    """The centre of an image [H, W, C], enlarged to the size of the image."""
    height, width = x.shape[:2]
    places = np.meshgrid(
        *((np.arange(side) - (side - 1) / 2) / factor + (side - 1) / 2 for side in (height, width)), indexing="ij"
    )
    return np.stack([ndimage.map_coordinates(x[..., c], places, order=1) for c in range(x.shape[-1])], -1)


def _clouds(shape: tuple[int, ...], decay: float, generator: Generator) -> np.ndarray:
    """Fractal noise in [0, 1], [H, W]: octaves of smooth noise, each finer one smaller by the factor ``decay``."""
    total, weight, cells = np.zeros(shape), 1.0, 2
    while cells <= 2 * max(shape):
        noise = generator.random((cells + 1, cells + 1))
        places = np.meshgrid(*(np.linspace(0, cells, side) for side in shape), indexing="ij")
        total += weight * ndimage.map_coordinates(noise, places, order=1)
        weight, cells = weight / decay, 2 * cells
    return (total - total.min()) / max(total.max() - total.min(), 1e-12)


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_noise": gaussian_noise, "shot_noise": shot_noise, "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur, "glass_blur": glass_blur, "motion_blur": motion_blur, "zoom_blur": zoom_blur,
    "snow": snow, "frost": frost, "fog": fog, "brightness": brightness, "contrast": contrast,
    "elastic_transform": elastic_transform, "pixelate": pixelate, "jpeg_compression": jpeg_compression,
}  # fmt: skip


def _factors(end: float, step: float) -> tuple[float, ...]:
    return tuple(np.arange(1 + step, end, step).tolist())


PARAMETERS: dict[str, tuple[tuple, tuple]] = {
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)), ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": (
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": (((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": (
        tuple(_factors(end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26)),
        tuple(_factors(end, step) for end, step in ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    ),
    "snow": (
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": (((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0.05, 0.02, 0.05), (0.07, 0.02, 0.05), (0.1, 0.02, 0.05), (0.12, 0.02, 0.05), (0.15, 0.02, 0.05)),
    ),
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}  # fmt: skip
"""By kind: the parameters of severities 1 to 5 for small and for large images."""
