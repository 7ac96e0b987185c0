"""Conversion of stored images to model inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.api import DatasetCard
from datasets.augmentations import AUGMENTATIONS_OF
from datasets.timm_augment import NO_STRONG, StrongAugmentation

# Luminance weights of ITU-R BT.601, as in PIL's mode "L".
LUMINANCE = (0.299, 0.587, 0.114)


def to_input(images: np.ndarray, *, size: int, channels: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Convert stored images uint8 [B, H, W, C] to normalised float32 [B, channels, size, size].

    Images of other sizes are resized (bilinear, antialiased). Grey images are repeated in every channel; colour images are
    reduced to one channel by luminance. If ``mean`` and ``std`` have one entry per stored channel, normalisation comes before
    this conversion; if they have one entry per channel of the result, it comes after.
    """
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    if batch.shape[-2:] != (size, size):
        batch = F.interpolate(batch, (size, size), mode="bilinear", antialias=True, align_corners=False)
    if batch.shape[1] != len(mean):
        batch = _with_channels(batch, channels)
    return _with_channels((batch - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1), channels)


def _with_channels(batch: Tensor, channels: int) -> Tensor:
    if batch.shape[1] == channels:
        return batch
    if batch.shape[1] == 1:
        return batch.expand(-1, channels, -1, -1).contiguous()
    return (batch * torch.tensor(LUMINANCE).view(-1, 1, 1)).sum(1, keepdim=True)


def evaluation_summary(card: DatasetCard, size: int, channels: int) -> str:
    """Description of evaluation preprocessing: `to_input`, and for files `datasets.crops.resize_center_crop`.

    In segmentation and detection, images are squashed instead of cropped, so that everything that is labelled is judged.
    """
    parts = []
    if card.image_size is None and card.task != "classification":
        parts.append(f"squashed to {size} x {size} (bilinear, antialiased), nothing cropped")
    elif card.image_size is None:
        parts.append(f"shorter side to {size} (bilinear, antialiased), middle square of {size}")
    elif card.image_size != size:
        parts.append(f"resized from {card.image_size} to {size} (bilinear, antialiased)")
    parts.append(f"divided by 255, less mean {_numbers(card.mean)}, over std {_numbers(card.std)}")
    if card.channels != channels:
        parts.append("grey repeated in every channel" if card.channels == 1 else "one channel by luminance (BT.601)")
    if card.task == "segmentation":
        parts.append(f"masks to {size} x {size} by nearest neighbour for the loss, in their stored size for scores")
    if card.task == "detection":
        parts.append("boxes as shares of the sides for the loss, in pixels of the stored image for scores")
    return "; ".join(parts)


def training_summary(
    card: DatasetCard, size: int, channels: int, augment: str, strong: StrongAugmentation = NO_STRONG
) -> str:
    """Description of training preprocessing and augmentation."""
    augmentation = AUGMENTATIONS_OF[card.task][augment].summary
    if "crop" in augment:
        augmentation += f", to {size}"
    parts = [
        augmentation,
        *strong.image_summary(),
        f"then as in evaluation: {evaluation_summary(card, size, channels)}",
    ]
    return "; ".join([*parts, *strong.input_summary()])


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
