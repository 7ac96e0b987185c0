"""What the harness must know of a dataset, and what a dataset hands over. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np

from datasets.errors import DataError
from datasets.images import ImageFiles, ImageList

SPLITS = ("train", "val", "test")
# Per-channel statistics of ImageNet's training images, as torchvision, timm and the official LGViT configuration have them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One split.

    Attributes:
        images: uint8 [N, H, W, C]; or files that are decoded batch by batch; or decoded images of differing sizes.
        labels: int64 [N], class indices.
        sample_id: int64 [N], unique within the split and stable across versions of the reader.
    """

    images: np.ndarray | ImageFiles | ImageList
    labels: np.ndarray
    sample_id: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: np.ndarray) -> ImageSplit:
        return ImageSplit(self.images[index], self.labels[index], self.sample_id[index])


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file of the official distribution.

    Attributes:
        url: where it is published; None where that takes an account.
        name: of the file.
        md5: as its publisher or torchvision lists it; None where no certain source is at hand.
        folder: what it unpacks to, seen from the folder that it lies in.
    """

    url: str | None
    name: str
    md5: str | None
    folder: str


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A dataset's card.

    Attributes:
        name: under which it is registered.
        target: ``"module:function"`` from the folder that `find` found to the splits by name.
        summary: one line for ``python -m benchmark list``.
        classes: class names by index.
        image_size: side of the stored images, in pixels; None where it differs from image to image.
        recipe_size: side that the usual recipe brings images to; a run uses its backbone's.
        channels: colour channels of the images as the reader hands them over.
        mean: per-channel mean that images in [0, 1] are normalised with.
        std: per-channel standard deviation, likewise.
        sizes: images per split.
        val_rule: how val was cut from the official train set, in words.
        seen_by: split to the names of trainings whose pretrained weights have seen its images.
        fingerprint: SHA-256 that changes when any image, label or split changes; part of every stage key. Known without
            the data: it covers official checksums where they are known, else name, split rule and version.
        folders: where it may lie below the user's folder for datasets.
        fixed_folders: other places where it may lie.
        markers: files inside the right folder, or folders, which end with a slash; one of them is enough to know it.
        archives: of the official distribution, for ``data fetch`` and ``data check``.
        licence: of the images.
        redistributable: whether a report may show the images.
        citation: where the data comes from.
        how_to_get: what to do when it is not there.
        code_version: raised by hand when the reader changes what it returns.
    """

    name: str
    target: str
    summary: str
    classes: tuple[str, ...]
    image_size: int | None
    recipe_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: Mapping[str, int]
    val_rule: str
    seen_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fingerprint: str
    licence: str
    redistributable: bool
    citation: str
    how_to_get: str
    folders: tuple[str, ...] = ()
    fixed_folders: tuple[Path, ...] = ()
    markers: tuple[str, ...]
    archives: tuple[Archive, ...] = ()
    code_version: int = 1

    def places(self, data_dir: Path | None) -> list[Path]:
        """The folders that are looked into, in this order."""
        named = [data_dir / folder for folder in self.folders] if data_dir else []
        return [*named, *self.fixed_folders]

    def find(self, data_dir: Path | None) -> Path:
        """The folder that holds the data.

        Raises:
            DataError: it is in none of the places; the message names them and says how to get it.
        """
        places = self.places(data_dir)
        for folder in places:
            if any(_is_marked(folder, marker) for marker in self.markers):
                return folder
        looked = ", ".join(str(folder) for folder in places) if places else "no folder"
        unnamed = "" if data_dir else "; name the folder of your datasets with --data-dir or LGVIT_BENCH_DATA"
        raise DataError(
            f"dataset {self.name}: looked for {' or '.join(self.markers[:4])} in {looked}{unnamed}; {self.how_to_get}"
        )

    def read(self, data_dir: Path | None) -> dict[str, ImageSplit]:
        """All splits by name.

        Args:
            data_dir: the folder that the user named for datasets, if any.

        Raises:
            DataError: a file is missing or damaged, or there are more or fewer images than there should be.
        """
        module, attribute = self.target.split(":")
        reader: Callable[[Path], dict[str, ImageSplit]] = getattr(import_module(module), attribute)
        folder = self.find(data_dir)
        splits = reader(folder)
        for name, split in splits.items():
            if len(split) != self.sizes[name]:
                raise DataError(
                    f"dataset {self.name}: {name} has {len(split):,} images instead of {self.sizes[name]:,}, so the copy in "
                    f"{folder} is not complete; {self.how_to_get}"
                )
        return splits


def _is_marked(folder: Path, marker: str) -> bool:
    """CIFAR-100's file `train` must not be taken for the folder of that name that others have."""
    return (folder / marker).is_dir() if marker.endswith("/") else (folder / marker).is_file()
