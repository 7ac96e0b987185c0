"""Whether the images of a grid are shrunk so far for its backbones that fine detail is lost. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from PIL import Image, UnidentifiedImageError

from benchmark import registry
from datasets.api import DatasetCard
from datasets.images import ImageFiles
from methods.api import BackboneCard
from results.spec import RunSpec

TOO_FAR = 4
"""Images may be shrunk by this factor without a warning."""
SAMPLED = 9
"""Image files of a folder whose size is read."""
MOST = 4
"""Backbones that a warning names."""


def shrinking(runs: Iterable[RunSpec]) -> list[str]:
    """A sentence for every dataset and backbone whose images are shrunk more than `TOO_FAR`, with backbones that fit."""
    sides: dict[str, int | None] = {}
    sentences = []
    for dataset, name in dict.fromkeys((run.train.dataset.name, run.train.backbone) for run in runs):
        data, backbone = registry.card("dataset", dataset), registry.card("backbone", name)
        if dataset not in sides:
            sides[dataset] = _side(data)
        side = sides[dataset]
        if side is not None and side > TOO_FAR * backbone.image_size:
            names = _fitting(side, backbone)
            others = f"; registered backbones with a larger input: {', '.join(names)}" if names else ""
            sentences.append(
                f"images of {data.name}, about {side} pixels, are shrunk to the {backbone.image_size} of {name}, and fine "
                f"detail is lost{others}"
            )
    return sentences


def _side(card: DatasetCard) -> int | None:
    """The shorter side of the images in pixels, of a folder the median of some; None if it is not known."""
    if card.image_size is not None or card.has_official_splits:
        return card.image_size
    images = card.read(None)["train"].images
    assert isinstance(images, ImageFiles)
    sides = []
    for position in range(0, len(images), max(len(images) // SAMPLED, 1)):
        try:
            with Image.open(images.path(position)) as image:
                sides.append(min(image.size))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue  # `data check` and the training name damaged files
    return round(median(sides)) if sides else None


def _fitting(side: int, backbone: BackboneCard) -> list[str]:
    """Backbones that shrink such images by at most `TOO_FAR`, or else the largest inputs there are; smallest models first."""
    cards = {name: registry.card("backbone", name) for name in registry.table("backbone")}
    enough = min(side / TOO_FAR, max(card.image_size for card in cards.values()))
    fits = [name for name, card in cards.items() if card.image_size >= enough and card.image_size > backbone.image_size]
    return sorted(fits, key=lambda name: (cards[name].image_size, sum(cards[name].dims)))[:MOST]
