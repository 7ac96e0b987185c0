"""Dataset cards, and the splits that dataset readers return. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.boxes import Boxes
from datasets.errors import DataError
from datasets.images import ImageFiles, ImageList, decoded, decoded_bytes, image_shape, packed
from datasets.masks import IGNORED, MaskFiles

SPLITS = ("train", "val", "test")
MAX_BYTES_IN_MEMORY = 2**30
# Per-channel statistics of ImageNet's training images, as in torchvision, timm and the official LGViT configuration.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One split of a dataset.

    Attributes:
        images: uint8 [N, H, W, C]; or files that are decoded batch by batch; or decoded images of different sizes.
        labels: int64 [N], class indices; other integers are converted. With masks or boxes, they only say from which groups
            splits are drawn in equal shares.
        sample_id: int64 [N], unique within the split and stable across versions of the reader; other integers are
            converted.
        masks: for segmentation, the class index of every pixel, `IGNORED` for pixels that do not count: uint8 [N, H, W]; or
            files; or decoded masks of different sizes. None for other tasks.
        boxes: for detection, the objects of every image. None for other tasks.

    Raises:
        DataError: the images or masks are not uint8, the labels or sample ids are not integers, a label is negative, or the
            masks or boxes do not belong to the images.
    """

    images: np.ndarray | ImageFiles | ImageList
    labels: np.ndarray
    sample_id: np.ndarray
    masks: np.ndarray | MaskFiles | ImageList | None = None
    boxes: Boxes | None = None

    def __post_init__(self) -> None:
        if isinstance(self.images, np.ndarray) and self.images.dtype != np.uint8:
            raise DataError(
                f"a dataset's reader returned images of type {self.images.dtype}; they must be uint8, from 0 to 255 "
                "(images in [0, 1] are multiplied by 255)"
            )
        for field_name in ("labels", "sample_id"):
            values = getattr(self, field_name)
            if not np.issubdtype(values.dtype, np.integer):
                raise DataError(
                    f"a dataset's reader returned {field_name} of type {values.dtype}; they must be integers"
                )
            object.__setattr__(self, field_name, values.astype(np.int64, copy=False))
        if len(self.labels) and self.labels.min() < 0:
            raise DataError(f"a dataset's reader returned the label {self.labels.min()}; class indices start at 0")
        if self.masks is not None and len(self.masks) != len(self.images):
            raise DataError(
                f"a dataset's reader returned {len(self.masks):,} masks for {len(self.images):,} images; each image needs one"
            )
        for mask in _stored(self.masks):
            if mask.dtype != np.uint8:
                raise DataError(f"a dataset's reader returned masks of type {mask.dtype}; they must be uint8")
        if self.boxes is not None and len(self.boxes) != len(self.images):
            raise DataError(
                f"a dataset's reader returned boxes of {len(self.boxes):,} images for {len(self.images):,} images"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def has_counted(self) -> bool:
        """Whether any object or pixel counts; True without boxes and masks. Files are decoded up to the first such pixel.

        Raises:
            DataError: a mask cannot be decoded; the message names it.
        """
        if self.boxes is not None:
            return not self.boxes.ignored.all()
        if not isinstance(self.masks, MaskFiles):
            return self.masks is None or any((mask != IGNORED).any() for mask in _stored(self.masks))
        parts = (self.masks[np.array([i])].decode()[0] for i in range(len(self)))
        return any((mask != IGNORED).any() for mask in parts)

    def select(self, index: np.ndarray) -> ImageSplit:
        """The samples at these positions (integers), or those where a bool mask [N] is True."""
        masks = None if self.masks is None else self.masks[index]
        boxes = None if self.boxes is None else self.boxes[index]
        return ImageSplit(self.images[index], self.labels[index], self.sample_id[index], masks, boxes)

    def decode(self) -> tuple[np.ndarray | list[np.ndarray], np.ndarray | list[np.ndarray] | None]:
        """Images, each uint8 [H, W, C], and masks, each uint8 [H, W], or None without masks.

        Raises:
            DataError: a file cannot be decoded, a mask has another size than its image, an image has another size than the
                file with its boxes states, or a box is not within its image; the message names it.
        """
        images = decoded(self.images)
        if self.boxes is not None and isinstance(images, list):
            for i, image in enumerate(images):
                self.boxes.check(i, (image.shape[1], image.shape[0]), self.name(i))
        if self.masks is None:
            return images, None
        masks = self.masks if isinstance(self.masks, np.ndarray) else self.masks.decode()
        for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
            self._check_size(i, mask.shape, image.shape[:2])
        return images, masks

    def check_mask_files(self) -> None:
        """Decode the masks that are files, without their images, of which only the headers are read.

        Raises:
            DataError: as in `decode`.
        """
        images = self.images
        if isinstance(self.masks, MaskFiles):
            for i, mask in enumerate(self.masks.decode()):
                shape = image_shape(images.path(i)) if isinstance(images, ImageFiles) else decoded(images)[i].shape[:2]
                self._check_size(i, mask.shape, shape)

    def _check_size(self, position: int, mask: tuple[int, ...], image: tuple[int, ...]) -> None:
        """Compare height and width of a mask and its image."""
        if mask != image:
            of_mask, of_image = (f"{width} x {height}" for height, width in (mask, image))
            name = self.name(position)
            raise DataError(f"{self.mask_name(position)} has {of_mask} pixels and its image {name} {of_image}")

    def in_memory(self, limit: int = MAX_BYTES_IN_MEMORY) -> ImageSplit:
        """The split with images and masks decoded, if the images are files that take at most ``limit`` decoded bytes.

        Raises:
            DataError: as in `decode`.
        """
        if not isinstance(self.images, ImageFiles) or decoded_bytes(self.images) > limit:
            return self
        images, masks = self.decode()
        return replace(self, images=packed(list(images)), masks=None if masks is None else packed(list(masks)))

    def name(self, position: int) -> str:
        """An image's file, or its sample id, for messages."""
        if isinstance(self.images, ImageFiles):
            return str(self.images.path(position))
        return f"sample {self.sample_id[position]}"

    def mask_name(self, position: int) -> str:
        """A mask's file, or its image, for messages."""
        if isinstance(self.masks, MaskFiles):
            return str(self.masks.path(position))
        return f"the mask of {self.name(position)}"


def _stored(masks: np.ndarray | MaskFiles | ImageList | None) -> Iterable[np.ndarray]:
    """Masks in memory, each [H, W]; nothing for files, which are compared when they are decoded."""
    if isinstance(masks, np.ndarray):
        return masks
    return masks.arrays if isinstance(masks, ImageList) else ()


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file of the official distribution.

    Attributes:
        url: download address; None if the download requires an account.
        name: file name.
        md5: checksum published by the distributor or by torchvision; None if neither publishes one.
        folder: folder in which it is put and unpacked, relative to the user's dataset folder.
    """

    url: str | None
    name: str
    md5: str | None
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """Description of a dataset and of how to find and read it.

    Attributes:
        name: name in the registry.
        target: ``"module:function"`` of the reader, which maps the folder from `find` to the splits by name.
        summary: one-line description for ``python -m benchmark list``.
        task: what a model predicts: one class an image, one class a pixel, or the boxes and classes of objects.
        classes: class names by index.
        image_size: side of the stored images in pixels; None if it differs between images.
        recipe_size: usual input size of models for this dataset, in pixels; a run uses the size of its backbone.
        channels: number of colour channels of the images that the reader returns.
        mean: per-channel mean for normalising images in [0, 1].
        std: per-channel standard deviation for normalising images in [0, 1].
        sizes: number of images per split.
        val_rule: description of how val was selected from the official train set.
        seen_by: maps a split to the names of the pretraining datasets that contain its images.
        fingerprint: SHA-256 that changes when any image, label or split changes; part of every stage key. It
            is computed without the data, from official checksums where available, else from name, split rule and version.
        folders: possible locations, relative to the user's dataset folder.
        fixed_folders: other possible locations.
        markers: files that identify the dataset's folder, or subfolders if they end with a slash; one match is sufficient.
        archives: files of the official distribution, for ``data fetch`` and ``data check``.
        licence: licence of the images.
        redistributable: whether a report may show the images.
        citation: publication that introduced the dataset; empty for the user's own images.
        has_official_splits: whether train and test are those of its publication.
        how_to_get: instructions for obtaining the dataset; part of error messages.
        code_version: incremented manually when the reader's output changes.
    """

    name: str
    target: str
    summary: str
    task: Literal["classification", "segmentation", "detection"] = "classification"
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
    has_official_splits: bool = True
    how_to_get: str
    folders: tuple[str, ...] = ()
    fixed_folders: tuple[Path, ...] = ()
    markers: tuple[str, ...]
    archives: tuple[Archive, ...] = ()
    code_version: int = 1

    def places(self, data_dir: Path | None) -> list[Path]:
        """The folders that `find` searches, in this order."""
        user_folders = [data_dir / folder for folder in self.folders] if data_dir else []
        return [*user_folders, *self.fixed_folders]

    def find(self, data_dir: Path | None) -> Path:
        """The folder that contains the data.

        Raises:
            DataError: no searched folder contains the data; the message lists the folders and how to obtain the data.
        """
        places = self.places(data_dir)
        for folder in places:
            if any(_is_marked(folder, marker) for marker in self.markers):
                return folder
        files = " or ".join(self.markers[:4])
        searched = f"no {files} in {', '.join(map(str, places))}" if places else "no folder was searched"
        hint = "" if data_dir else "; name the folder of your datasets with --data-dir or LGVIT_BENCH_DATA"
        raise DataError(f"dataset {self.name} was not found: {searched}{hint}; to get it: {self.how_to_get}")

    def read(self, data_dir: Path | None) -> dict[str, ImageSplit]:
        """All splits by name.

        Args:
            data_dir: the user's dataset folder, if any.

        Raises:
            DataError: a file is missing or damaged, the number of images differs from ``sizes``, masks or boxes are missing or
                have a class that is not in ``classes``, a box is not within its image, or an image has not its stated size.
        """
        module, attribute = self.target.split(":")
        reader: Callable[[Path], dict[str, ImageSplit]] = getattr(import_module(module), attribute)
        folder = self.find(data_dir)
        splits = reader(folder)
        for name, split in splits.items():
            if len(split) != self.sizes[name]:
                raise DataError(
                    f"dataset {self.name}: {name} has {len(split):,} images instead of {self.sizes[name]:,}, so the copy in "
                    f"{folder} is incomplete; {self.how_to_get}"
                )
            if self.task == "segmentation":
                self._check_masks(name, split)
            if self.task == "detection":
                self._check_boxes(name, split)
        return splits

    def _check_masks(self, name: str, split: ImageSplit) -> None:
        if split.masks is None:
            raise DataError(f"dataset {self.name}: its task is segmentation, and the images of {name} have no masks")
        for position, mask in enumerate(_stored(split.masks)):
            wrong = mask[(mask >= len(self.classes)) & (mask != IGNORED)]
            if len(wrong):
                raise DataError(
                    f"dataset {self.name}: {split.mask_name(position)} in {name} has the class {wrong[0]}, and the "
                    f"{len(self.classes)} classes are numbered from 0"
                )

    def _check_boxes(self, name: str, split: ImageSplit) -> None:
        if split.boxes is None:
            raise DataError(f"dataset {self.name}: its task is detection, and the images of {name} have no boxes")
        wrong = np.flatnonzero((split.boxes.labels < 0) | (split.boxes.labels >= len(self.classes)))
        if len(wrong):
            position = int(np.searchsorted(split.boxes.offsets, wrong[0], side="right")) - 1
            raise DataError(
                f"dataset {self.name}: an object in {split.name(position)} in {name} has the class "
                f"{split.boxes.labels[wrong[0]]}, and the {len(self.classes)} classes are numbered from 0"
            )
        if not isinstance(split.images, np.ndarray):
            return  # compared with their images when these are decoded
        size = split.images.shape[2], split.images.shape[1]
        for position in range(len(split)):
            split.boxes.check(position, size, f"dataset {self.name}: {split.name(position)} in {name}")


def _is_marked(folder: Path, marker: str) -> bool:
    """Whether the marker exists as a folder (trailing slash) or as a file.

    The types are distinct because CIFAR-100 has a file `train` where other datasets have a folder `train`.
    """
    return (folder / marker).is_dir() if marker.endswith("/") else (folder / marker).is_file()
