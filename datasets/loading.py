"""Batches of a split, loaded by torch's DataLoader. The number of worker processes does not affect their content."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.api import DataError, DatasetCard, ImageSplit
from datasets.augment import AUGMENTATIONS, Images, batch_draw, sample_draws
from datasets.box_augment import BOX_AUGMENTATIONS
from datasets.boxes import Boxes
from datasets.joint_augment import JOINT_AUGMENTATIONS, Masks
from datasets.shares import WHOLE, Piece, Share, pieces, rank_indices, with_partners
from datasets.timm_augment import NO_STRONG, StrongAugmentation, erase, mix, rand_augment
from datasets.transforms import to_input

# Torch's default on Linux. It is set explicitly because the worker pool starts its processes by a fork server, and loader
# processes would inherit that method and import torch again in every epoch.
START_METHOD = "fork" if sys.platform == "linux" else None
SCORING_BATCH = 500
SCORING_PIXELS = SCORING_BATCH * 64 * 64  # per batch; larger images are scored in smaller batches


@dataclass(frozen=True)
class Workers:
    """DataLoader settings. They are in no stage key because the batches do not depend on them.

    Attributes:
        count: number of worker processes; 0 loads batches in the main process.
        pin: whether batches are in page-locked memory, which speeds up copies to a GPU.
    """

    count: int = 0
    pin: bool = False


@dataclass(frozen=True)
class PackedMasks:
    """Masks of different sizes in one tensor: worker processes keep a file open for every tensor that they share.

    Attributes:
        pixels: uint8 [number of pixels of all masks].
        shapes: height and width of each mask.
    """

    pixels: Tensor
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, masks: Sequence[np.ndarray] | np.ndarray) -> PackedMasks:
        pixels = np.concatenate([mask.ravel() for mask in masks])
        return cls(torch.from_numpy(pixels), tuple(mask.shape for mask in masks))

    def unpacked(self) -> tuple[Tensor, ...]:
        """The masks, each uint8 [H, W]."""
        parts = self.pixels.split([height * width for height, width in self.shapes])
        return tuple(part.view(shape) for part, shape in zip(parts, self.shapes, strict=True))

    def to(self, device: torch.device) -> PackedMasks:
        return replace(self, pixels=self.pixels.to(device, non_blocking=self.pixels.is_pinned()))

    def pin_memory(self) -> PackedMasks:
        return replace(self, pixels=self.pixels.pin_memory())


@dataclass(frozen=True)
class Batch:
    """Images float32 [B, channels, size, size], class indices [B], sample ids [B].

    After Mixup or CutMix, ``labels`` are class probabilities, float32 [B, C]. In segmentation, they are the class indices of
    pixels, int64 [B, size, size], `IGNORED` where a pixel does not count, and scoring batches also have the masks as they are
    stored. In detection, they are `datasets.box_augment.targets`, float32 [B, M, 5], and scoring batches also have the boxes as
    they are stored and ``sizes``, width and height of the stored images, float32 [B, 2]. In distributed training, a batch holds
    the images of one rank, and ``whole`` is the number of images over all ranks; likewise the part of one forward pass.
    """

    images: Tensor
    labels: Tensor
    sample_id: Tensor
    whole: int | None = None
    packed_masks: PackedMasks | None = None
    boxes: Boxes | None = None
    sizes: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of images over all ranks."""
        return len(self.labels) if self.whole is None else self.whole

    @property
    def classes(self) -> Tensor:
        """Class indices of images or pixels; for mixed images, the class with the largest probability."""
        return self.labels.argmax(-1) if self.labels.is_floating_point() else self.labels

    @property
    def masks(self) -> tuple[Tensor, ...] | None:
        """The masks of a scoring batch in their stored sizes, each uint8 [H, W]; None in training and in classification."""
        return None if self.packed_masks is None else self.packed_masks.unpacked()

    def to(self, device: torch.device) -> Batch:
        """The batch with images, labels and masks on a device; the sample ids stay on the CPU."""
        pinned = self.images.is_pinned()
        images, labels = (x.to(device, non_blocking=pinned) for x in (self.images, self.labels))
        masks = self.packed_masks and self.packed_masks.to(device)
        return replace(self, images=images, labels=labels, packed_masks=masks)

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory; the DataLoader calls this method."""
        masks = self.packed_masks and self.packed_masks.pin_memory()
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory(), packed_masks=masks)

    def parts(self, share: Share) -> list[tuple[Batch, Piece]]:
        """The batch of each forward pass, in order, with its position in the batch of all ranks."""
        parts, start = [], 0
        for piece in pieces(self.size, share):
            rows = slice(start, start := start + piece.stop - piece.start)
            part = Batch(self.images[rows], self.labels[rows], self.sample_id[rows], piece.pass_size)
            parts.append((part, piece))
        return parts


@dataclass(frozen=True)
class _BatchIndex:
    """The sampler's description of one batch.

    Attributes:
        positions: indices, in the split, of the images of the batch over all ranks.
        rows: indices, in ``positions``, of the images that this rank processes.
    """

    positions: list[int]
    rows: list[int]


class _Batches(Dataset[Batch | DataError]):
    """A dataset that returns whole batches: the sampler yields a `_BatchIndex` for each."""

    def __init__(
        self,
        split: ImageSplit,
        card: DatasetCard,
        size: int,
        channels: int,
        augment: str,
        stream: int,
        strong: StrongAugmentation = NO_STRONG,
        keep_stored: bool = False,
    ) -> None:
        self.keep_stored = keep_stored
        self.split, self.size, self.stream, self.augment, self.strong = split, size, stream, augment, strong
        self.classes = len(card.classes)
        grey = (sum(card.mean) / len(card.mean),)
        self.fill = card.mean if len(card.mean) == card.channels else grey * card.channels
        self.to_input = partial(to_input, size=size, channels=channels, mean=card.mean, std=card.std)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, index: _BatchIndex) -> Batch | DataError:
        positions, rows = np.asarray(index.positions), index.rows
        if self.strong.mixes:
            rows = with_partners(rows, len(positions))
        samples = self.split.select(positions[rows])
        try:
            images, masks = samples.decode()
        except DataError as error:
            return error  # a worker process would wrap a raised error in a traceback
        if masks is not None:
            return self._with_masks(images, masks, samples.sample_id, len(positions))
        if samples.boxes is not None:
            return self._with_boxes(images, samples.boxes, samples.sample_id, len(positions))
        augmentation, strong = AUGMENTATIONS[self.augment], self.strong
        draws = sample_draws(self.stream, samples.sample_id, augmentation.draws + strong.draws)
        augmented = augmentation.apply(images, draws[:, : augmentation.draws], self.size)
        if strong.rand_augment:
            augmented = rand_augment(augmented, draws[:, -2], strong.rand_augment, self.fill)
        inputs, labels = self.to_input(augmented), torch.from_numpy(samples.labels)
        if strong.erasing:
            inputs = erase(inputs, draws[:, -1], strong.erasing)
        if strong.mixes:
            draw = batch_draw(self.stream, self.split.sample_id[positions])
            inputs, labels = mix(inputs, labels, draw, strong, self.classes)
        batch = Batch(inputs, labels, torch.from_numpy(samples.sample_id), len(positions))
        if len(rows) == len(index.rows):
            return batch
        is_own = torch.from_numpy(
            np.isin(rows, index.rows)
        )  # False for images that were loaded only as mixing partners
        return Batch(inputs[is_own], labels[is_own], batch.sample_id[is_own], batch.whole)

    def _with_masks(self, images: Images, masks: Masks, sample_id: np.ndarray, whole: int) -> Batch:
        augmentation = JOINT_AUGMENTATIONS[self.augment]
        draws = sample_draws(self.stream, sample_id, augmentation.draws)
        augmented, labels = augmentation.apply(images, masks, draws, self.size)
        stored = PackedMasks.of(masks) if self.keep_stored else None
        inputs, ids = self.to_input(augmented), torch.from_numpy(sample_id)
        return Batch(inputs, torch.from_numpy(labels.astype(np.int64)), ids, whole, stored)

    def _with_boxes(self, images: Images, boxes: Boxes, sample_id: np.ndarray, whole: int) -> Batch:
        augmentation = BOX_AUGMENTATIONS[self.augment]
        draws = sample_draws(self.stream, sample_id, augmentation.draws)
        augmented, labels = augmentation.apply(images, boxes, draws, self.size)
        inputs, ids = self.to_input(augmented), torch.from_numpy(sample_id)
        batch = Batch(inputs, torch.from_numpy(labels), ids, whole)
        if not self.keep_stored:
            return batch
        sizes = torch.tensor([[image.shape[1], image.shape[0]] for image in images], dtype=torch.float32)
        return replace(batch, boxes=boxes, sizes=sizes)


class BatchLoader:
    """Iterates over batches.

    Raises, when iterated:
        DataError: an image cannot be decoded; the message names it.
    """

    def __init__(self, batches: _Batches, sampler: Sequence[_BatchIndex], seed: int, workers: Workers) -> None:
        # Without this generator, the DataLoader's iterator draws from torch's global generator.
        self.loader: DataLoader[Batch | DataError] = DataLoader(
            batches,
            batch_sampler=sampler,  # type: ignore[arg-type]
            collate_fn=_identity,  # type: ignore[arg-type]
            generator=torch.Generator().manual_seed(seed),
            num_workers=workers.count,
            multiprocessing_context=START_METHOD if workers.count else None,
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
    strong: StrongAugmentation = NO_STRONG,
    skip: int = 0,
    workers: Workers = Workers(),
    share: Share = WHOLE,
) -> BatchLoader:
    """Batches of one epoch, shuffled by ``order_seed``, without the first ``skip`` batches; the last may be smaller.

    Each batch holds the images of ``share``. The order and the augmentation do not depend on the share.
    """
    order = np.random.default_rng(order_seed).permutation(len(split)).tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    sampler = [_BatchIndex(batch, rank_indices(len(batch), share)) for batch in batches[skip:]]
    return BatchLoader(
        _Batches(split, card, size, channels, augment, augment_stream, strong), sampler, order_seed, workers
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
    """The batches of a split in stored order, without augmentation.

    Rank r gets the batches r, r + ranks, ...; batches are not divided, because the rounding of a matrix product depends on
    the batch size.
    """
    sampler = [_BatchIndex(batch, list(range(len(batch)))) for batch in scoring_positions(len(split), size)]
    batches = _Batches(split, card, size, channels, "none", 0, keep_stored=True)
    return BatchLoader(batches, sampler[share.rank :: share.ranks], 0, workers)


def scoring_positions(count: int, size: int) -> list[list[int]]:
    """The positions of each scoring batch, for a split of ``count`` images of ``size`` x ``size`` pixels."""
    length = max(1, min(SCORING_BATCH, SCORING_PIXELS // size**2))
    return [list(range(start, min(start + length, count))) for start in range(0, count, length)]


def _identity(batch: Batch | DataError) -> Batch | DataError:
    return batch
