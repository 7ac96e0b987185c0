"""Whether the images of a grid are shrunk so far for its backbones that fine detail is lost. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark import registry
from datasets.api import DatasetCard
from datasets.images import typical_side
from methods.tasks import TASKS
from results.spec import RunSpec

TOO_FAR = 4
"""Images may be shrunk by this factor without a warning."""


def shrinking(runs: Iterable[RunSpec]) -> list[str]:
    """`shrunk` of every dataset whose images are of one size or the user's own, and every backbone."""
    sides: dict[str, int] = {}
    sentences = []
    for dataset, backbone in dict.fromkeys((run.train.dataset.name, run.train.backbone) for run in runs):
        data = registry.card("dataset", dataset)
        if is_known_late(data):
            continue
        if dataset not in sides:
            sides[dataset] = data.image_size or typical_side(data.read(None)["train"].images)
        sentences.append(shrunk(data, sides[dataset], backbone))
    return [sentence for sentence in sentences if sentence is not None]


def is_known_late(data: DatasetCard) -> bool:
    """Whether the size of the images is only known when they are read for training."""
    return data.image_size is None and data.has_official_splits


def shrunk(data: DatasetCard, side: int, name: str) -> str | None:
    """A warning where images are shrunk by more than `TOO_FAR` for a backbone, with the next larger ones that fit; else None.

    Args:
        data: the card of the images.
        side: their shorter side in pixels, 0 if it cannot be read.
        name: of the backbone.
    """
    backbone = registry.card("backbone", name)
    if side <= TOO_FAR * backbone.image_size:
        return None
    stages = 1 if TASKS[data.task].labels_patches else None  # see `benchmark.grid.fitting.check_task`
    larger = {
        other: card.image_size
        for other, card in registry.table("backbone").items()
        if card.image_size > backbone.image_size and stages in (None, len(card.stages))
    }
    enough = [size for size in larger.values() if size >= side / TOO_FAR]
    fitting = min(enough) if enough else max(larger.values(), default=0)
    names = [other for other, size in larger.items() if size == fitting]
    grey = " and to grey" if data.channels > backbone.channels else ""
    others = f"; registered backbones with a larger input: {', '.join(names)}" if names else ""
    return (
        f"images of {data.name}, about {side} pixels, are shrunk to the {backbone.image_size}x{backbone.image_size} of {name}"
        f"{grey}, and fine detail is lost{others}"
    )
