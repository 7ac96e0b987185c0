"""Stratified, seeded choice of samples, and the hash that names a choice."""

from __future__ import annotations

import hashlib

import numpy as np

from datasets.api import DataError, ImageSplit


def stratified_holdout(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into (kept, held out), ``per_class`` of every class held out; both ascending."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) <= per_class:
            raise DataError(f"class {label} has {len(members)} images: {per_class} cannot be held out")
        held[rng.permutation(members)[:per_class]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def stratified_head(split: ImageSplit, count: int) -> ImageSplit:
    """The first ``count`` samples, classes in turn: of every class its first count / classes, in stored order."""
    order = np.argsort(split.labels, kind="stable")
    ranks = np.empty(len(split), dtype=np.int64)
    ranks[order] = np.concatenate([np.arange(size) for size in np.unique(split.labels, return_counts=True)[1]])
    chosen = np.lexsort((split.labels, ranks))[:count]
    return split.select(np.sort(chosen))


def identity(split: ImageSplit) -> str:
    """SHA-256 over the sample ids and labels of a split, in order."""
    digest = hashlib.sha256(split.sample_id.astype("<i8").tobytes())
    digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()
