"""Images in one folder per class, as in ImageNet, Tiny-ImageNet and most users' own data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles, encoded, image_names


def read_class_folders(root: Path, classes: Sequence[str], inside: str = "") -> ImageSplit:
    """Every image of every class, by class and then by name; a sample's id is its position in that order.

    Args:
        root: folder that contains the class folders.
        classes: names of the class folders by class index.
        inside: name of a folder between each class folder and its images; empty if there is none.

    Raises:
        DataError: a class folder is missing or empty.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        folder = root / name / inside
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}, which should contain the images of class {name!r}")
        images = image_names(folder)
        if not images:
            raise DataError(f"{folder} contains no image: add images or remove it")
        names += [f"{name}/{inside}/{image}" if inside else f"{name}/{image}" for image in images]
        labels += [label] * len(images)
    return ImageSplit(ImageFiles(root, encoded(names)), np.array(labels, dtype=np.int64), np.arange(len(names)))


def subfolders(root: Path) -> list[str]:
    """The sorted names of the folders in ``root``, without hidden folders."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
