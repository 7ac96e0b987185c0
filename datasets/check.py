"""Check of every image of a dataset: whether it and its mask can be decoded, whether its boxes are within it, which classes
there are, duplicates in splits. Check of the masks alone, before a training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles

CHUNK = 64  # images that a process gets at once
BLOCK = 8192  # images that are queued at once; a pool queues its whole input otherwise
VALUES = 256  # of a pixel of a mask

T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """What a check of a dataset found.

    Attributes:
        damaged: one sentence per image that cannot be decoded or whose mask or boxes are wrong.
        in_two_splits: pairs of equal images from two splits, each image as ``split: name``.
        pixels: number of pixels by the value of the mask, int64 [256], by split; zeros without masks.
        shown: number of masks with that value, likewise.
    """

    damaged: tuple[str, ...]
    in_two_splits: tuple[tuple[str, str], ...]
    pixels: Mapping[str, np.ndarray]
    shown: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Finding:
    """What the check of one image found: a hash or a problem, and the number of pixels by value of its mask, int64 [256]."""

    digest: bytes = b""
    problem: str | None = None
    pixels: np.ndarray | None = None


def scan(splits: Mapping[str, ImageSplit], processes: int, progress: Callable[[int, int], None]) -> Scan:
    """Decode every image and mask, and compare all images by a hash of the file or of the stored pixels.

    Args:
        splits: by name. A split that is listed under two names is reported as duplicates.
        processes: number of processes that decode files; 0 decodes in the calling process.
        progress: called with (images checked, images in total).
    """
    total, done = sum(len(split) for split in splits.values()), 0
    damaged: list[str] = []
    in_two_splits: list[tuple[str, str]] = []
    first_places: dict[bytes, tuple[str, int]] = {}
    pixels, shown = ({name: np.zeros(VALUES, np.int64) for name in splits} for _ in range(2))
    for name, split in splits.items():
        for position, finding in enumerate(_each(_examined, split, processes)):
            done += 1
            progress(done, total)
            if finding.problem is not None:
                damaged.append(finding.problem)
                continue
            if finding.pixels is not None:
                pixels[name] += finding.pixels
                shown[name] += finding.pixels > 0
            other, place = first_places.setdefault(finding.digest, (name, position))
            if other != name:
                in_two_splits.append((f"{other}: {splits[other].name(place)}", f"{name}: {split.name(position)}"))
    return Scan(tuple(damaged), tuple(in_two_splits), pixels, shown)


def check_mask_files(splits: Sequence[ImageSplit], processes: int, progress: Callable[[int, int], None]) -> None:
    """Decode every mask that is a file, without its image.

    Args:
        splits: of which images are decoded batch by batch; others were compared with their masks when they were read.
        processes: as in `scan`.
        progress: called with (masks checked, masks in total).

    Raises:
        DataError: a mask is wrong; the message names the first one.
    """
    total, done = sum(map(len, splits)), 0
    for split in splits:
        for _ in _each(ImageSplit.check_mask_files, split, processes):
            done += 1
            progress(done, total)


def _each(examine: Callable[[ImageSplit], T], split: ImageSplit, processes: int) -> Iterator[T]:
    """The result of a check for each sample of a split, in order."""
    samples = (split.select(np.array([i])) for i in range(len(split)))
    if processes == 0 or not isinstance(split.images, ImageFiles):
        yield from map(examine, samples)
        return
    with ProcessPoolExecutor(processes) as pool:
        while block := list(islice(samples, BLOCK)):
            yield from pool.map(examine, block, chunksize=CHUNK)


def _examined(sample: ImageSplit) -> _Finding:
    """Decode one image and its mask, and compare it with its boxes."""
    try:
        (image,), masks = sample.decode()
        content = sample.images.path(0).read_bytes() if isinstance(sample.images, ImageFiles) else image.tobytes()
    except DataError as error:
        return _Finding(problem=str(error))
    pixels = None if masks is None else np.bincount(masks[0].ravel(), minlength=VALUES)
    return _Finding(hashlib.blake2b(content, digest_size=16).digest(), None, pixels)


def class_counts(splits: Mapping[str, ImageSplit], classes: int) -> dict[str, np.ndarray]:
    """Number of images per class, int64 [classes], by split; in detection the number of objects that are not ignored."""
    labels = {
        name: split.labels if split.boxes is None else split.boxes.labels[~split.boxes.ignored]
        for name, split in splits.items()
    }
    return {name: np.bincount(of_split, minlength=classes) for name, of_split in labels.items()}
