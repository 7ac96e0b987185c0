"""Batches of a split, in a stated order, through torch's DataLoader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.api import DatasetCard, ImageSplit
from datasets.augment import AUGMENTATIONS, sample_draws
from datasets.transforms import to_input

SCORING_BATCH = 500


@dataclass(frozen=True)
class Batch:
    """Images float32 [B, channels, size, size], class indices [B], sample ids [B]."""

    images: Tensor
    labels: Tensor
    sample_id: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.images.to(device), self.labels.to(device), self.sample_id)

    def parts(self, count: int) -> list[Batch]:
        """At most ``count`` parts of nearly equal size, in order."""
        chunks = zip(*(torch.chunk(x, count) for x in (self.images, self.labels, self.sample_id)), strict=True)
        return [Batch(*chunk) for chunk in chunks]


class _Batches(Dataset[Batch]):
    """A split that hands out whole batches; the DataLoader asks with lists of positions."""

    def __init__(
        self, split: ImageSplit, card: DatasetCard, size: int, channels: int, augment: str, stream: int
    ) -> None:
        self.split, self.stream = split, stream
        self.to_input = partial(to_input, size=size, channels=channels, mean=card.mean, std=card.std)
        self.draws, self.augment = AUGMENTATIONS[augment]

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, positions: list[int]) -> Batch:
        chosen = self.split.select(np.asarray(positions))
        images = chosen.images
        if self.draws:
            images = self.augment(images, sample_draws(self.stream, chosen.sample_id, self.draws))
        return Batch(self.to_input(images), torch.from_numpy(chosen.labels), torch.from_numpy(chosen.sample_id))


def training_batches(
    split: ImageSplit,
    card: DatasetCard,
    *,
    size: int,
    channels: int,
    augment: str,
    batch_size: int,
    order_seed: int,
    augment_stream: int,
    skip: int = 0,
) -> DataLoader[Batch]:
    """One epoch in the order that ``order_seed`` names, without its first ``skip`` batches; the last may be smaller."""
    order = np.random.default_rng(order_seed).permutation(len(split)).tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return _loader(_Batches(split, card, size, channels, augment, augment_stream), batches[skip:], order_seed)


def scoring_batches(split: ImageSplit, card: DatasetCard, *, size: int, channels: int) -> DataLoader[Batch]:
    """The split in stored order, as it is."""
    positions = list(range(len(split)))
    batches = [positions[start : start + SCORING_BATCH] for start in range(0, len(split), SCORING_BATCH)]
    return _loader(_Batches(split, card, size, channels, "none", 0), batches, 0)


def _loader(dataset: _Batches, batches: Sequence[list[int]], seed: int) -> DataLoader[Batch]:
    # A DataLoader's iterator draws from torch's global generator unless it is given one of its own.
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=_as_is, generator=generator)  # type: ignore[arg-type]


def _as_is(batch: Batch) -> Batch:
    return batch
