"""Batches of a split, in a stated order, through torch's DataLoader. Worker processes change nothing but the speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.api import DataError, DatasetCard, ImageSplit
from datasets.augment import AUGMENTATIONS, batch_draw, sample_draws
from datasets.images import decoded
from datasets.shares import WHOLE, Piece, Share, pieces, taken, with_partners
from datasets.timm_augment import NO_STRONGER, Stronger, erase, mix, rand_augment
from datasets.transforms import to_input

SCORING_BATCH = 500
SCORING_PIXELS = SCORING_BATCH * 64 * 64  # larger images come in smaller batches


@dataclass(frozen=True)
class Workers:
    """How batches are made; no part of any key, as the batches are the same bits.

    Attributes:
        count: worker processes; 0 makes batches in the process that asks for them.
        pin: whether batches lie in page-locked memory, from where a GPU copies faster.
    """

    count: int = 0
    pin: bool = False


@dataclass(frozen=True)
class Batch:
    """Images float32 [B, channels, size, size], class indices [B], sample ids [B].

    Where Mixup or CutMix mixed the images, ``labels`` are shares of the classes instead, float32 [B, C]. Where several ranks
    train together, a batch holds one rank's share, and ``whole`` is the number of images in all shares.
    """

    images: Tensor
    labels: Tensor
    sample_id: Tensor
    whole: int | None = None

    @property
    def size(self) -> int:
        """Images of all ranks."""
        return len(self.labels) if self.whole is None else self.whole

    @property
    def classes(self) -> Tensor:
        """Class indices [B]; of mixed images the class with the largest share."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(-1)

    def to(self, device: torch.device) -> Batch:
        pinned = self.images.is_pinned()
        images, labels = (x.to(device, non_blocking=pinned) for x in (self.images, self.labels))
        return replace(self, images=images, labels=labels)

    def pin_memory(self) -> Batch:
        """The name by which a DataLoader asks for it."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())

    def parts(self, share: Share) -> list[tuple[Batch, Piece]]:
        """What goes through the model in one pass each, in order, and where it stands in the batch of all ranks."""
        found, start = [], 0
        for piece in pieces(self.size, share):
            here = slice(start, start := start + piece.stop - piece.start)
            found.append((Batch(self.images[here], self.labels[here], self.sample_id[here]), piece))
        return found


@dataclass(frozen=True)
class _Wanted:
    """A batch to be made: the positions of its images in the split, and the numbers of those that this rank takes."""

    positions: list[int]
    numbers: list[int]


class _Batches(Dataset[Batch | DataError]):
    """A split that hands out whole batches; the DataLoader asks for what its sampler yields."""

    def __init__(
        self,
        split: ImageSplit,
        card: DatasetCard,
        size: int,
        channels: int,
        augment: str,
        stream: int,
        stronger: Stronger = NO_STRONGER,
    ) -> None:
        self.split, self.size, self.stream, self.augment, self.stronger = split, size, stream, augment, stronger
        self.mean, self.classes = card.mean, len(card.classes)
        self.to_input = partial(to_input, size=size, channels=channels, mean=card.mean, std=card.std)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, wanted: _Wanted) -> Batch | DataError:
        positions, numbers = np.asarray(wanted.positions), wanted.numbers
        if self.stronger.mixes:
            numbers = with_partners(numbers, len(positions))
        chosen = self.split.select(positions[numbers])
        try:
            images = decoded(chosen.images)
        except DataError as error:
            return error  # raised in a worker it would come out wrapped in a traceback
        augmentation, stronger = AUGMENTATIONS[self.augment], self.stronger
        draws = sample_draws(self.stream, chosen.sample_id, augmentation.draws + stronger.draws)
        varied = augmentation.apply(images, draws[:, : augmentation.draws], self.size)
        if stronger.rand_augment:
            varied = rand_augment(varied, draws[:, -2], stronger.rand_augment, self.mean)
        inputs, labels = self.to_input(varied), torch.from_numpy(chosen.labels)
        if stronger.erasing:
            inputs = erase(inputs, draws[:, -1], stronger.erasing)
        if stronger.mixes:
            draw = batch_draw(self.stream, self.split.sample_id[positions])
            inputs, labels = mix(inputs, labels, draw, stronger, self.classes)
        batch = Batch(inputs, labels, torch.from_numpy(chosen.sample_id), len(positions))
        if len(numbers) == len(wanted.numbers):
            return batch
        mine = torch.from_numpy(np.isin(numbers, wanted.numbers))  # without those that were only mixed in
        return Batch(inputs[mine], labels[mine], batch.sample_id[mine], batch.whole)


class BatchLoader:
    """Iterates over batches.

    Raises, when iterated:
        DataError: an image cannot be decoded; the message names it.
    """

    def __init__(self, batches: _Batches, wanted: Sequence[_Wanted], seed: int, workers: Workers) -> None:
        # A DataLoader's iterator draws from torch's global generator unless it is given one of its own.
        self.loader: DataLoader[Batch | DataError] = DataLoader(
            batches,
            batch_sampler=wanted,  # type: ignore[arg-type]
            collate_fn=_as_is,  # type: ignore[arg-type]
            generator=torch.Generator().manual_seed(seed),
            num_workers=workers.count,
            pin_memory=workers.pin,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


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
    stronger: Stronger = NO_STRONGER,
    skip: int = 0,
    workers: Workers = Workers(),
    share: Share = WHOLE,
) -> BatchLoader:
    """One epoch in the order that ``order_seed`` names, without its first ``skip`` batches; the last may be smaller.

    Of every batch, ``share`` is made. Order and augmentation do not depend on it.
    """
    order = np.random.default_rng(order_seed).permutation(len(split)).tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    wanted = [_Wanted(batch, taken(len(batch), share)) for batch in batches[skip:]]
    return BatchLoader(
        _Batches(split, card, size, channels, augment, augment_stream, stronger), wanted, order_seed, workers
    )


def scoring_batches(
    split: ImageSplit,
    card: DatasetCard,
    *,
    size: int,
    channels: int,
    workers: Workers = Workers(),
    share: Share = WHOLE,
) -> BatchLoader:
    """The split in stored order, as it is. Ranks take whole batches in turn: a product's last bit depends on the batch."""
    wanted = [_Wanted(batch, list(range(len(batch)))) for batch in scored_together(len(split), size)]
    return BatchLoader(_Batches(split, card, size, channels, "none", 0), wanted[share.rank :: share.ranks], 0, workers)


def scored_together(count: int, size: int) -> list[list[int]]:
    """Positions of a split of ``count`` images that are scored in one batch each."""
    length = max(1, min(SCORING_BATCH, SCORING_PIXELS // size**2))
    return [list(range(start, min(start + length, count))) for start in range(0, count, length)]


def _as_is(batch: Batch | DataError) -> Batch | DataError:
    return batch
