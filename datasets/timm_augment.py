"""timm's stronger augmentations: RandAugment, random erasing, Mixup and CutMix, with randomness that is ours.

timm draws from the global generators of Python, NumPy and torch. Here they are seeded for each image from (seed, epoch, sample
id), for each batch from (seed, epoch, the batch's sample ids), and given back as they were. So neither workers nor resumes
change a bit. timm and torch are imported when an image is varied: checking a recipe needs neither.
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

FORM = "rand-m9-mstd0.5-inc1"
# Sections of timm's form; it passes over what it cannot read, and a typing error would go unnoticed.
SECTIONS = (r"m\d+", r"n[1-9]", r"p(0(\.\d+)?|1)", r"mstd\d+(\.\d+)?", r"mmax\d+", r"inc[01]", r"t(weights|3aw?)")
# Of `RandomErasing`, as timm's training script sets it: one rectangle, every pixel a draw of its own.
ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Stronger:
    """What a recipe adds to its augmentation; all off by default.

    Attributes:
        rand_augment: in timm's form, such as rand-m9-mstd0.5-inc1; None for none.
        erasing: probability that a rectangle of an image becomes noise.
        mixup: alpha of the Beta distribution that images of a batch are mixed by; 0 for none.
        cutmix: alpha of that by which they are pasted into each other; 0 for none. With both, each batch draws one of them.
    """

    rand_augment: str | None = None
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def draws(self) -> int:
        """Uniform numbers that one image needs: the last but one for RandAugment, the last for erasing."""
        return 2 if self.rand_augment or self.erasing else 0

    @property
    def mixes(self) -> bool:
        """Whether labels become shares of the classes."""
        return bool(self.mixup or self.cutmix)

    def image_summary(self) -> list[str]:
        """What follows the augmentation, before images are normalised, in words."""
        return [f"timm's RandAugment {self.rand_augment} (bilinear, filled with the mean)"] if self.rand_augment else []

    def input_summary(self) -> list[str]:
        """What follows the normalisation, in words."""
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


NO_STRONGER = Stronger()


def rand_augment_mistake(config: str | None) -> str | None:
    """What is wrong with a RandAugment in timm's form; None if it is sound or none at all."""
    if config is None:
        return None
    first, *sections = config.split("-")
    names = [re.match("[a-z]*", section)[0] for section in sections]  # type: ignore[index]
    wrong = [s for s in sections if not any(re.fullmatch(allowed, s) for allowed in SECTIONS)]
    wrong += [name for i, name in enumerate(names) if name in names[:i]]
    if first == "rand" and not wrong:
        return None
    what = f"{wrong[0]!r} in {config!r}" if first == "rand" else repr(config)
    return (
        f"{what} is not in timm's form, such as {FORM}: rand, then each at most once m (magnitude), n (operations an image, "
        "1 to 9), p (probability of each), mstd (noise of the magnitude), mmax (its limit, else 10), inc0 or inc1 (stronger "
        "with the magnitude), tweights, t3a or t3aw (choice of operations)"
    )


def rand_augment(images: np.ndarray, draws: np.ndarray, config: str, mean: tuple[float, ...]) -> np.ndarray:
    """
    Args:
        images: uint8 [B, H, W, C], C 1 or 3.
        draws: a uniform number in [0, 1) for each, [B].
        config: in timm's form.
        mean: of the channels, in [0, 1]; what comes in at the borders.
    """
    transform = _rand_augment(config, mean, min(images.shape[1:3]))
    grey = images.shape[3] == 1
    varied = []
    with _seeded() as seed:
        for image, draw in zip(images, draws, strict=True):
            seed(draw)
            found = np.asarray(transform(Image.fromarray(image[..., 0] if grey else image)))
            varied.append(found[..., None] if grey else found)
    return np.stack(varied)


@lru_cache(maxsize=8)
def _rand_augment(config: str, mean: tuple[float, ...], side: int) -> Callable[[Image.Image], Image.Image]:
    """With the parameters that `timm.data.create_transform` gives it at interpolation='bilinear'."""
    from timm.data.auto_augment import posterize, rand_augment_transform

    fill = tuple(min(255, round(255 * value)) for value in mean)
    parameters: dict[str, Any] = {
        "translate_const": int(side * 0.45),
        "img_mean": fill if len(fill) > 1 else fill[0],
        "interpolation": Image.Resampling.BILINEAR,
    }
    transform = rand_augment_transform(config, parameters)

    def posterize_or_black(image: Image.Image, bits: int, **others: Any) -> Image.Image:
        """The strongest level keeps 0 bits, which today's Pillow refuses and earlier ones made black."""
        return posterize(image, bits) if bits else Image.new(image.mode, image.size)

    for operation in transform.ops:
        if operation.aug_fn is posterize:
            operation.aug_fn = posterize_or_black
    return transform


def erase(images: Tensor, draws: np.ndarray, probability: float) -> Tensor:
    """
    Args:
        images: normalised, float32 [B, channels, side, side]; changed in place.
        draws: a uniform number in [0, 1) for each, [B].
        probability: that a rectangle of an image is erased.
    """
    from timm.data.random_erasing import RandomErasing

    (least, most), (thin, wide) = ERASED_AREA, ERASED_RATIO
    erasing = RandomErasing(probability, least, most, thin, wide, mode="pixel", device="cpu")
    with _seeded() as seed:
        for image, draw in zip(images, draws, strict=True):
            seed(draw)
            erasing(image)
    return images


def mix(images: Tensor, labels: Tensor, draw: float, stronger: Stronger, classes: int) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of a batch with itself in reverse; the last image of an odd batch stays as it is.

    Args:
        images: normalised, float32 [B, channels, side, side]; changed in place.
        labels: class indices [B].
        draw: a uniform number in [0, 1).
        stronger: with one of the two alphas above 0.
        classes: C.

    Returns:
        the images, and shares of the classes float32 [B, C].
    """
    import torch
    from timm.data.mixup import Mixup, one_hot

    even = len(labels) // 2 * 2
    with _seeded() as seed:
        seed(draw)
        mixup = Mixup(stronger.mixup, stronger.cutmix, label_smoothing=0.0, num_classes=classes)
        images[:even], shares = mixup(images[:even], labels[:even])
    return images, torch.cat([shares, one_hot(labels[even:], classes)])


@contextmanager
def _seeded() -> Iterator[Callable[[float], None]]:
    """While entered, the global generators are seeded by uniform numbers; afterwards they are what they were."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()

    def seed(draw: float) -> None:
        number = int(draw * 2**32)
        random.seed(number)
        np.random.seed(number)
        torch.default_generator.manual_seed(number)  # torch.manual_seed would also seed the devices

    try:
        yield seed
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])
