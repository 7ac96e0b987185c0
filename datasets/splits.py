"""Stratified, seeded selections of samples, and hashes that identify them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from datasets.api import DataError, ImageSplit
from datasets.boxes import join_boxes
from datasets.images import ImageFiles, decoded, join
from datasets.masks import MaskFiles, join_masks

SPLIT_SEED = 20230800255  # of all splits; the digits of LGViT's arXiv number


def stratified_holdout(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the remaining and of the held-out samples, both ascending; ``per_class`` samples per class are held out.

    Raises:
        DataError: a class has at most ``per_class`` samples.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) <= per_class:
            which = "there are" if len(members) == len(labels) else f"class {label} has"
            raise DataError(f"{which} {len(members):,} images, of which {per_class:,} cannot be held out")
        held[rng.permutation(members)[:per_class]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def hold_out(split: ImageSplit, per_class: int, seed: int) -> tuple[ImageSplit, ImageSplit]:
    """The split without ``per_class`` samples of every class, and these samples; both in stored order.

    Raises:
        DataError: a class has too few samples; the message names the folder of the images.
    """
    try:
        remaining, held_out = stratified_holdout(split.labels, per_class, seed)
    except DataError as error:
        where = f"{split.images.root}: " if isinstance(split.images, ImageFiles) else ""
        raise DataError(f"{where}{error}; the copy is incomplete") from None
    return split.select(remaining), split.select(held_out)


def stratified_shares(
    split: ImageSplit, shares: Mapping[str, float], seed: int
) -> tuple[ImageSplit, dict[str, ImageSplit]]:
    """The remaining samples, and one part per entry of ``shares``, with that share of every class.

    The number of samples per class is rounded and at least 1.
    """
    rng = np.random.default_rng(seed)
    part = np.zeros(len(split), dtype=np.int64)  # 0: remaining
    for label in np.unique(split.labels):
        members = rng.permutation(np.flatnonzero(split.labels == label))
        begin = 0
        for number, share in enumerate(shares.values(), start=1):
            count = max(1, round(share * len(members)))
            part[members[begin : begin + count]] = number
            begin += count
    held = {name: split.select(np.flatnonzero(part == number)) for number, name in enumerate(shares, start=1)}
    return split.select(np.flatnonzero(part == 0)), held


def stratified_halves(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two halves, both ascending. Each has half of every class; odd samples go to the two halves in turn."""
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    order = np.concatenate(members)
    return np.sort(order[1::2]), np.sort(order[::2])


def merge(first: ImageSplit, second: ImageSplit) -> ImageSplit:
    """Two parts of one official set, merged in the order of the sample ids.

    Raises:
        DataError: the images are stored in different ways, or a sample is in both parts.
    """
    sample_id = np.concatenate([first.sample_id, second.sample_id])
    if len(np.unique(sample_id)) < len(sample_id):
        raise DataError("train and val share sample ids, so they are not parts of one set")
    labels = np.concatenate([first.labels, second.labels])
    masks, boxes = join_masks(first.masks, second.masks), join_boxes(first.boxes, second.boxes)
    both = ImageSplit(join(first.images, second.images), labels, sample_id, masks, boxes)
    return both.select(np.argsort(sample_id))


def stratified_head(split: ImageSplit, count: int) -> ImageSplit:
    """``count`` samples in stored order: the first count / C samples of each of the C classes."""
    order = np.argsort(split.labels, kind="stable")
    ranks = np.empty(len(split), dtype=np.int64)
    ranks[order] = np.concatenate([np.arange(size) for size in np.unique(split.labels, return_counts=True)[1]])
    chosen = np.lexsort((split.labels, ranks))[:count]
    return split.select(np.sort(chosen))


def identity(split: ImageSplit) -> str:
    """SHA-256 over the sample ids and labels of a split, in order. It covers neither masks nor boxes; `content` does."""
    digest = hashlib.sha256(split.sample_id.astype("<i8").tobytes())
    digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()


def content(split: ImageSplit) -> str:
    """A hash that identifies images, masks and boxes: ``pixels:`` and the SHA-256 of all pixels and boxes, in order.

    For images that are decoded batch by batch: ``files:`` and the SHA-256 of the file names and sizes.
    """
    digest = hashlib.sha256()
    for stored in (split.images, split.masks):
        files = stored.files if isinstance(stored, MaskFiles) else stored
        if isinstance(files, ImageFiles):
            for i, name in enumerate(files.names):
                digest.update(bytes(name) + files.path(i).stat().st_size.to_bytes(8, "little"))
        elif files is not None:
            for array in decoded(files):
                digest.update(np.array(array.shape, dtype="<i8").tobytes() + array.tobytes())
    if split.boxes is not None:
        for values, kind in ((split.boxes.offsets, "<i8"), (split.boxes.corners, "<f4"), (split.boxes.labels, "<i8")):
            digest.update(values.astype(kind).tobytes())
        digest.update(split.boxes.ignored.tobytes())
    return f"{'files' if isinstance(split.images, ImageFiles) else 'pixels'}:{digest.hexdigest()}"
