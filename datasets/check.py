"""Checks every image of a dataset: can it be decoded, and is it in two splits?"""

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

CHUNK = 64
BLOCK = 8192


@dataclass(frozen=True)
class Scan:
    """Problems of a dataset.

    Attributes:
        damaged: one sentence per image that cannot be decoded.
        twice: images that are in two splits: (an image of one split, the same in another), each as ``split: name``.
    """

    damaged: tuple[str, ...]
    twice: tuple[tuple[str, str], ...]


def scan(splits: Mapping[str, ImageSplit], processes: int, progress: Callable[[int, int], None]) -> Scan:
    """Decode every image and compare all by the hash of their content (the file's, or the stored pixels').

    Args:
        splits: by name; images of a split that has two roles are reported.
        processes: number of processes that decode files; 0 decodes in this one.
        progress: called with (images checked, images in total).
    """
    total, done = sum(len(split) for split in splits.values()), 0
    damaged: list[str] = []
    twice: list[tuple[str, str]] = []
    seen: dict[bytes, tuple[str, int]] = {}
    for name, split in splits.items():
        for position, (digest, problem) in enumerate(_digests(split, processes)):
            done += 1
            progress(done, total)
            if problem is not None:
                damaged.append(problem)
                continue
            other, place = seen.setdefault(digest, (name, position))
            if other != name:
                twice.append((f"{other}: {_name(splits[other], place)}", f"{name}: {_name(split, position)}"))
    return Scan(tuple(damaged), tuple(twice))


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
        while block := list(islice(paths, BLOCK)):  # a pool queues its whole input at once
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
    """Images of every class, by split: int64 [classes] each."""
    return {name: np.bincount(split.labels, minlength=classes) for name, split in splits.items()}
