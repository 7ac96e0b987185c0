"""What the harness must know of a dataset, and what a dataset hands over. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")


class DataError(Exception):
    """The data is missing, damaged or does not fit; the message says which file and what to do."""


@dataclass(frozen=True)
class ImageSplit:
    """One split, decoded.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int64 [N], class indices.
        sample_id: int64 [N], unique within the split and stable across versions of the reader.
    """

    images: np.ndarray
    labels: np.ndarray
    sample_id: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: np.ndarray) -> ImageSplit:
        return ImageSplit(self.images[index], self.labels[index], self.sample_id[index])


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A dataset's card.

    Attributes:
        target: ``"module:function"`` that reads the splits; see `read`.
        summary: one line for ``python -m benchmark list``.
        classes: class names by index.
        image_size: side of the stored images, in pixels.
        channels: colour channels of the stored images.
        mean: per-channel mean of the training images in [0, 1], for normalisation.
        std: per-channel standard deviation, likewise.
        sizes: images per split.
        fingerprint: SHA-256 that changes when any image, label or split changes; part of every stage key.
        licence: of the images.
        redistributable: whether a report may show the images.
        citation: where the data comes from.
        how_to_get: what to do when it is not there.
        code_version: raised by hand when the reader changes what it returns.
    """

    target: str
    summary: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: Mapping[str, int]
    fingerprint: str
    licence: str
    redistributable: bool
    citation: str
    how_to_get: str
    code_version: int = 1

    def read(self, data_dir: Path | None) -> dict[str, ImageSplit]:
        """All splits by name.

        Args:
            data_dir: the folder that the user named for datasets, if any.

        Raises:
            DataError: a file is missing or damaged.
        """
        module, attribute = self.target.split(":")
        reader: Callable[[Path | None], dict[str, ImageSplit]] = getattr(import_module(module), attribute)
        return reader(data_dir)
