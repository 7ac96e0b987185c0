"""timm's RandAugment, random erasing, Mixup and CutMix, with seeds per image and per batch.

timm draws from the global generators of Python, NumPy and torch. This module seeds them for each image from (seed, epoch,
sample id) and for each batch from (seed, epoch, sample ids of the batch), and restores their state afterwards. The results
therefore do not depend on the number of workers or on resuming. timm and torch are imported only when images are augmented,
because checking a recipe needs neither.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLE = "rand-m9-mstd0.5-inc1"
# Sections of a timm RandAugment string. timm ignores sections that it cannot parse, so typing errors are checked here.
SECTIONS = (r"m\d+", r"n[1-9]", r"p(0(\.\d+)?|1)", r"mstd\d+(\.\d+)?", r"mmax\d+", r"inc[01]", r"t(weights|3aw?)")
# Parameters of `RandomErasing` in timm's training script: one rectangle, filled with independent noise per pixel.
ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class StrongAugmentation:
    """Augmentations that follow the recipe's `Augmentation`; all are off by default.

    Attributes:
        rand_augment: timm's RandAugment string, such as rand-m9-mstd0.5-inc1; None disables it.
        erasing: probability that a rectangle of an image is replaced by noise.
        mixup: alpha of Mixup's Beta distribution; 0 disables it.
        cutmix: alpha of CutMix's Beta distribution; 0 disables it. With both, one of them is drawn for each batch.
    """

    rand_augment: str | None = None
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def draws(self) -> int:
        """Number of uniform random numbers per image: the second to last is for RandAugment, the last for erasing."""
        return 2 if self.rand_augment or self.erasing else 0

    @property
    def mixes(self) -> bool:
        """Whether labels become class probabilities."""
        return bool(self.mixup or self.cutmix)

    def image_summary(self) -> list[str]:
        """Descriptions of the steps between the augmentation and the normalisation."""
        return [f"timm's RandAugment {self.rand_augment} (bilinear, filled with the mean)"] if self.rand_augment else []

    def input_summary(self) -> list[str]:
        """Descriptions of the steps after the normalisation."""
        parts = []
        if self.erasing:
            parts.append(
                f"timm's random erasing ({self.erasing:g} of the images, 2-33 % of the area, ratio 0.3-3.3, normal noise)"
            )
        mixed = [
            f"{name} (alpha {alpha:g})" for name, alpha in (("Mixup", self.mixup), ("CutMix", self.cutmix)) if alpha
        ]
        if mixed:
            parts.append(f"timm's {' or '.join(mixed)} of every batch with itself in reverse, labels likewise")
        return parts


MAX_SHOWN = 100
"""Characters of an invalid RandAugment string that a message shows."""
NO_STRONG = StrongAugmentation()


def rand_augment_mistake(config: str | None) -> str | None:
    """The error message for an invalid RandAugment string; None if the string is valid or None."""
    if config is None:
        return None
    prefix, *sections = config.split("-")
    names = [re.match("[a-z]*", section)[0] for section in sections]  # type: ignore[index]
    invalid = [s for s in sections if not any(re.fullmatch(allowed, s) for allowed in SECTIONS)]
    invalid += [name for i, name in enumerate(names) if name in names[:i]]
    if prefix == "rand" and not invalid:
        return None
    text = repr(config[:MAX_SHOWN])
    subject = f"{invalid[0][:MAX_SHOWN]!r} in {text}" if prefix == "rand" else text
    return (
        f"{subject} is not in timm's form, such as {EXAMPLE}: rand, followed by at most one each of m (magnitude), n "
        "(operations per image, 1 to 9), p (probability of each operation), mstd (standard deviation of the magnitude), mmax "
        "(maximum magnitude, default 10), inc0 or inc1 (whether severity increases with the magnitude), and tweights, t3a or "
        "t3aw (choice of operations)"
    )


def rand_augment(images: np.ndarray, draws: np.ndarray, config: str, mean: tuple[float, ...]) -> np.ndarray:
    """Apply timm's RandAugment to each image.

    Args:
        images: uint8 [B, H, W, C], C 1 or 3.
        draws: one uniform random number in [0, 1) per image, [B].
        config: timm's RandAugment string.
        mean: per-channel mean in [0, 1], used as the fill value.

    Returns:
        uint8 [B, H, W, C].
    """
    transform = _rand_augment(config, mean, min(images.shape[1:3]))
    grey = images.shape[3] == 1
    augmented = []
    with _seeded() as seed:
        for image, draw in zip(images, draws, strict=True):
            seed(draw)
            array = np.asarray(transform(Image.fromarray(image[..., 0] if grey else image)))
            augmented.append(array[..., None] if grey else array)
    return np.stack(augmented)


@lru_cache(maxsize=8)
def _rand_augment(config: str, mean: tuple[float, ...], side: int) -> Callable[[Image.Image], Image.Image]:
    """The transform, with the parameters that `timm.data.create_transform` uses for interpolation='bilinear'."""
    from timm.data.auto_augment import posterize, rand_augment_transform

    fill = tuple(min(255, round(255 * value)) for value in mean)
    parameters: dict[str, Any] = {
        "translate_const": int(side * 0.45),
        "img_mean": fill if len(fill) > 1 else fill[0],
        "interpolation": Image.Resampling.BILINEAR,
    }
    transform = rand_augment_transform(config, parameters)

    def posterize_or_black(image: Image.Image, bits: int, **others: Any) -> Image.Image:
        """Posterize; the strongest level keeps 0 bits, which current Pillow rejects and older Pillow rendered black."""
        return posterize(image, bits) if bits else Image.new(image.mode, image.size)

    for operation in transform.ops:
        if operation.aug_fn is posterize:
            operation.aug_fn = posterize_or_black
    return transform


def erase(images: Tensor, draws: np.ndarray, probability: float) -> Tensor:
    """Apply timm's random erasing to each image.

    Args:
        images: normalised, float32 [B, channels, side, side]; modified in place.
        draws: one uniform random number in [0, 1) per image, [B].
        probability: probability that a rectangle of an image is erased.

    Returns:
        ``images``.
    """
    from timm.data.random_erasing import RandomErasing

    (min_area, max_area), (min_ratio, max_ratio) = ERASED_AREA, ERASED_RATIO
    erasing = RandomErasing(probability, min_area, max_area, min_ratio, max_ratio, mode="pixel", device="cpu")
    with _seeded() as seed:
        for image, draw in zip(images, draws, strict=True):
            seed(draw)
            erasing(image)
    return images


def mix(images: Tensor, labels: Tensor, draw: float, strong: StrongAugmentation, classes: int) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of a batch with itself in reverse order; the last image of an odd batch is not mixed.

    Args:
        images: normalised, float32 [B, channels, side, side]; modified in place.
        labels: class indices [B].
        draw: a uniform random number in [0, 1).
        strong: the alphas of Mixup and CutMix, at least one above 0.
        classes: number of classes, C.

    Returns:
        the images, and class probabilities float32 [B, C].
    """
    import torch
    from timm.data.mixup import Mixup, one_hot

    even = len(labels) // 2 * 2
    with _seeded() as seed:
        seed(draw)
        mixup = Mixup(strong.mixup, strong.cutmix, label_smoothing=0.0, num_classes=classes)
        images[:even], probabilities = mixup(images[:even], labels[:even])
    return images, torch.cat([probabilities, one_hot(labels[even:], classes)])


@contextmanager
def _seeded() -> Iterator[Callable[[float], None]]:
    """A function that seeds the global generators from a uniform random number; their states are restored at the end."""
    import torch

    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()

    def seed(draw: float) -> None:
        number = int(draw * 2**32)
        random.seed(number)
        np.random.seed(number)
        torch.default_generator.manual_seed(number)  # torch.manual_seed would also seed the generators of the devices

    try:
        yield seed
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])
