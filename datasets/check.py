"""Check of every image of a dataset: whether it can be decoded, and whether it is in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles, decode_file, decoded

CHUNK = 64  # images that a process gets at once
BLOCK = 8192  # images that are queued at once; a pool queues its whole input otherwise


@dataclass(frozen=True)
class Scan:
    """Problems of a dataset.

    Attributes:
        damaged: one sentence per image that cannot be decoded.
        in_two_splits: pairs of equal images from two splits, each image as ``split: name``.
    """

    damaged: tuple[str, ...]
    in_two_splits: tuple[tuple[str, str], ...]


def scan(splits: Mapping[str, ImageSplit], processes: int, progress: Callable[[int, int], None]) -> Scan:
    """Decode every image, and compare all images by a hash of the file or of the stored pixels.

    Args:
        splits: by name. A split that is listed under two names is reported as duplicates.
        processes: number of processes that decode files; 0 decodes in the calling process.
        progress: called with (images checked, images in total).
    """
    total, done = sum(len(split) for split in splits.values()), 0
    damaged: list[str] = []
    in_two_splits: list[tuple[str, str]] = []
    first_places: dict[bytes, tuple[str, int]] = {}
    for name, split in splits.items():
        for position, (digest, problem) in enumerate(_digests(split, processes)):
            done += 1
            progress(done, total)
            if problem is not None:
                damaged.append(problem)
                continue
            other, place = first_places.setdefault(digest, (name, position))
            if other != name:
                in_two_splits.append((f"{other}: {_name(splits[other], place)}", f"{name}: {_name(split, position)}"))
    return Scan(tuple(damaged), tuple(in_two_splits))


def _digests(split: ImageSplit, processes: int) -> Iterator[tuple[bytes, str | None]]:
    """Hash and problem of every image, in order."""
    if not isinstance(split.images, ImageFiles):
        for image in decoded(split.images):
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest(), None
        return
    paths = (str(split.images.path(i)) for i in range(len(split)))
    if processes == 0:
        yield from map(_digest, paths)
        return
    with ProcessPoolExecutor(processes) as pool:
        while block := list(islice(paths, BLOCK)):
            yield from pool.map(_digest, block, chunksize=CHUNK)


def _digest(path: str) -> tuple[bytes, str | None]:
    try:
        decode_file(Path(path))
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest(), None
    except DataError as error:
        return b"", str(error)


def _name(split: ImageSplit, position: int) -> str:
    if isinstance(split.images, ImageFiles):
        return str(split.images.path(position))
    return f"sample {split.sample_id[position]}"


def class_counts(splits: Mapping[str, ImageSplit], classes: int) -> dict[str, np.ndarray]:
    """Number of images per class, int64 [classes], by split."""
    return {name: np.bincount(split.labels, minlength=classes) for name, split in splits.items()}
