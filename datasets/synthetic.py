"""Random images with the shape of a real dataset, for rehearsing a grid without its data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from datasets.api import IGNORED, SPLITS, DatasetCard, ImageSplit
from datasets.boxes import Boxes

PREFIX = "synthetic:"
SIZES = {"train": 2, "val": 8, "test": 8}


def is_synthetic(name: str) -> bool:
    """Whether a dataset's name is ``synthetic:NAME``."""
    return name.startswith(PREFIX)


@dataclass(frozen=True, kw_only=True)
class SyntheticCard(DatasetCard):
    """A card whose images are noise."""

    def read(self, data_dir: Path | None) -> dict[str, ImageSplit]:
        return {split: _noise(self, split, i) for i, split in enumerate(SPLITS)}


def synthetic_card(card: DatasetCard) -> SyntheticCard:
    """A card with the classes, channels, size and normalisation of ``card``, and `SIZES` random images."""
    values = {field.name: getattr(card, field.name) for field in fields(DatasetCard)}
    name = PREFIX + card.name
    return replace(
        SyntheticCard(**values),
        name=name,
        summary=f"random images in the shape of {card.name}",
        image_size=card.recipe_size,
        sizes=SIZES,
        val_rule="random images",
        seen_by={},
        fingerprint=hashlib.sha256(f"{name} {SIZES} {card.recipe_size}".encode()).hexdigest(),
        licence="none",
        redistributable=True,
        citation="random numbers",
        how_to_get="it is generated when it is read",
    )


def _noise(card: DatasetCard, split: str, seed: int) -> ImageSplit:
    count = SIZES[split]
    shape = (count, card.recipe_size, card.recipe_size, card.channels)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    sample_id = np.arange(count, dtype=np.int64)
    if card.task == "classification":
        return ImageSplit(images, sample_id % len(card.classes), sample_id)
    labels, rng = np.zeros(count, np.int64), np.random.default_rng([seed, 1])
    if card.task == "detection":
        return ImageSplit(images, labels, sample_id, boxes=_random_boxes(rng, count, card))
    masks = rng.integers(0, len(card.classes), shape[:3], dtype=np.uint8)
    masks[:, :1] = IGNORED
    return ImageSplit(images, labels, sample_id, masks)


def _random_boxes(rng: np.random.Generator, count: int, card: DatasetCard) -> Boxes:
    """Up to 4 boxes an image; the first image has none, and every fourth box is ignored."""
    side, images = card.recipe_size, []
    for i in range(count):
        places = rng.integers(0, side // 2, (i % 5, 2)), rng.integers(1, side // 2 + 1, (i % 5, 2))
        images.append(
            [
                ((left, top, left + width, top + height), int(rng.integers(len(card.classes))), number == 3)
                for number, ((left, top), (width, height)) in enumerate(
                    zip(*map(np.ndarray.tolist, places), strict=True)
                )
            ]
        )
    return Boxes.of_images(images)
