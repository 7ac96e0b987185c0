"""Refuses augmentations that the task of a dataset does not have."""

from __future__ import annotations

from benchmark import registry
from datasets.api import DatasetCard
from datasets.augmentations import AUGMENTATIONS_OF
from results.spec import TrainSpec

OF_IMAGES_ALONE = ("rand_augment", "erasing", "mixup", "cutmix")
LABELS = {"segmentation": "masks", "detection": "boxes"}
"""What images are labelled with, for augmentations that would have to change it too."""


def refused_augmentation(train: TrainSpec) -> tuple[str, str] | None:
    """(key in the grid, reason) of the first augmentation that the run's dataset cannot have; None if there is none."""
    card: DatasetCard = registry.card("dataset", train.dataset.name)
    for stage, recipe in train.recipes:
        if card.task in LABELS:
            for key in OF_IMAGES_ALONE:
                if getattr(recipe, key):
                    return (
                        f"recipes.{stage}.{key}",
                        f"changes images without their {LABELS[card.task]}, and {card.name} is {card.task}",
                    )
        if recipe.augment not in AUGMENTATIONS_OF[card.task]:
            fitting = ", ".join(AUGMENTATIONS_OF[card.task])
            return (
                f"recipes.{stage}.augment",
                f"{card.task} has no {recipe.augment} ({card.name}); augmentations that it has: {fitting}",
            )
        if card.task == "detection" and recipe.label_smoothing:
            return f"recipes.{stage}.label_smoothing", f"detection has none ({card.name}); set it to 0"
    return None
