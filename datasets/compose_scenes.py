"""Scenes of garments for segmentation and detection: real photos, synthetic layout. They are composed at load time from the
photos of the bundled Fashion-MNIST subset, those of each split from the photos of that split. A scene depends on its number
only, and is the same in both tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from datasets.api import SPLITS, ImageSplit
from datasets.boxes import Boxes
from datasets.fashion_mnist import read_bundle
from datasets.fashion_scenes import SIDE, SIZES
from datasets.splits import SPLIT_SEED

GARMENTS = (2, 5)  # fewest and most in a scene
GARMENT_SIDES = (20, 40)  # smallest and largest side of a garment's square photo in a scene, in pixels
SEEN = 40  # visible pixels of a garment that must be found; its photo has 200 to 1,100
THRESHOLD = 12  # darker pixels of a photo are its black ground
GROUND_GRAINS = ((2, 4), (5, 2), (13, 1), (SIDE, 1))  # noise of the ground: cells a side of a scene, and weights
TEXTURE_SIDE = 8 * SIDE
GROUND_DEPTH = 150  # largest value of the ground


def read(folder: Path) -> dict[str, ImageSplit]:
    """The splits with masks; labels are 0, and sample ids number the scenes of all splits.

    Raises:
        DataError: the file of the garments cannot be read or is damaged.
    """
    return _read(folder, with_masks)


def read_with_boxes(folder: Path) -> dict[str, ImageSplit]:
    """As `read`, with boxes. Garments of which fewer than `SEEN` pixels are visible are ignored."""
    return _read(folder, with_boxes)


def _read(
    folder: Path, labelled: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], ImageSplit]
) -> dict[str, ImageSplit]:
    garments = read_bundle(folder)
    splits, first = {}, 0
    for name in SPLITS:
        ids = np.arange(first, first + SIZES[name])
        splits[name] = labelled(*_scenes(garments[name], ids), garments[name].labels, ids)
        first += SIZES[name]
    return splits


def _scenes(garments: ImageSplit, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, SIDE, SIDE], and the index of the garment at every pixel, int64 of the same shape."""
    assert isinstance(garments.images, np.ndarray)
    cut_outs = cut_out(garments.images[..., 0])
    grounds = textures(np.random.default_rng([SPLIT_SEED, *ids[:1].tolist()]))
    scenes = [compose(cut_outs, grounds, np.random.default_rng([SPLIT_SEED, scene, 1])) for scene in ids.tolist()]
    return np.stack([image for image, _ in scenes]), np.stack([owners for _, owners in scenes])


def with_masks(images: np.ndarray, owners: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> ImageSplit:
    """A split of `_scenes`, of which each pixel has the class of its garment plus 1, or that of the ground, 0."""
    masks = np.concatenate([[0], labels + 1]).astype(np.uint8)[owners + 1]
    return ImageSplit(images[..., None], np.zeros(len(ids), np.int64), ids, masks)


def with_boxes(images: np.ndarray, owners: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> ImageSplit:
    """A split of `_scenes`, of which each garment has its class and the box of its visible part."""
    objects = [
        [
            (corners, int(labels[garment]), int((scene == garment).sum()) < SEEN)
            for garment, corners in boxes(scene).items()
        ]
        for scene in owners
    ]
    return ImageSplit(images[..., None], np.zeros(len(ids), np.int64), ids, boxes=Boxes.of_images(objects))


def compose(cut_outs: np.ndarray, grounds: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One scene. Garments that are placed later cover earlier ones. All arithmetic is on integers, equal on every machine.

    Args:
        cut_outs: of garments, from `cut_out`.
        grounds: from `textures`.
        rng: of this scene.

    Returns:
        the image uint8 [SIDE, SIDE], and the garment's index at every pixel, int64 [SIDE, SIDE], -1 for the ground.
    """
    image, owners = ground(grounds, rng), np.full((SIDE, SIDE), -1)
    count = rng.integers(GARMENTS[0], GARMENTS[1] + 1)
    for garment in rng.choice(len(cut_outs), count, replace=False).tolist():
        side = int(rng.integers(GARMENT_SIDES[0], GARMENT_SIDES[1] + 1))
        top, left, flip = rng.integers(0, (SIDE - side + 1, SIDE - side + 1, 2)).tolist()
        garment_image = _resized(cut_outs[garment], side)[:, :: -1 if flip else 1]
        shape = garment_image[..., 1] > 127
        place = slice(top, top + side), slice(left, left + side)
        image[place][shape] = garment_image[..., 0][shape]
        owners[place][shape] = garment
    return image, owners


def boxes(owners: np.ndarray) -> dict[int, tuple[int, int, int, int]]:
    """The box of the visible part of every garment, by its index: left, top, right and bottom; the last two are exclusive."""
    found = {}
    for garment in np.unique(owners[owners >= 0]).tolist():
        rows, columns = np.nonzero(owners == garment)
        found[garment] = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return found


def silhouettes(photos: np.ndarray) -> np.ndarray:
    """The pixels of the garments in photos uint8 [N, H, W] on black ground, holes filled; bool [N, H, W]."""
    dark = np.pad(photos <= THRESHOLD, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    regions, _ = ndimage.label(dark, in_plane)
    outside = regions == regions[:, :1, :1]  # the padding joins all dark pixels that reach the border
    return ~outside[:, 1:-1, 1:-1]


def cut_out(photos: np.ndarray) -> np.ndarray:
    """Photos uint8 [N, H, W] with their `silhouettes` (0 or 255), uint8 [N, H, W, 3]; the third channel is empty."""
    shapes = silhouettes(photos) * np.uint8(255)
    return np.stack([photos, shapes, np.zeros_like(photos)], axis=-1)  # of the form RGB, which PIL resizes at once


def textures(rng: np.random.Generator) -> np.ndarray:
    """Noise of several grains, int64 [grains, TEXTURE_SIDE, TEXTURE_SIDE], from 0 to 255; parts of it make grounds."""
    sides = [cells * TEXTURE_SIDE // SIDE for cells, _ in GROUND_GRAINS]
    noise = [rng.integers(0, 256, (side, side), dtype=np.uint8) for side in sides]
    return np.stack([_resized(grain, TEXTURE_SIDE) for grain in noise]).astype(np.int64)


def ground(grounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A textured ground uint8 [SIDE, SIDE]: random places of `textures`, with a random brightness and contrast."""
    places = rng.integers(0, TEXTURE_SIDE - SIDE + 1, (len(grounds), 2)).tolist()
    parts = [
        weight * grain[top : top + SIDE, left : left + SIDE]
        for grain, (top, left), (_, weight) in zip(grounds, places, GROUND_GRAINS, strict=True)
    ]
    noise = sum(parts) // sum(weight for _, weight in GROUND_GRAINS)
    depth = int(rng.integers(GROUND_DEPTH // 3, GROUND_DEPTH + 1))
    base = int(rng.integers(0, 256 - depth))
    return (base + noise * depth // 255).astype(np.uint8)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
