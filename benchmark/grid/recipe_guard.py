"""Refuses augmentations that the task of a dataset does not have."""

from __future__ import annotations

from benchmark import registry
from datasets.api import DatasetCard
from datasets.augment import AUGMENTATIONS
from results.spec import TrainSpec

OF_IMAGES_ALONE = ("rand_augment", "erasing", "mixup", "cutmix")


def refused_augmentation(train: TrainSpec) -> tuple[str, str] | None:
    """(key in the grid, reason) of the first augmentation that the run's dataset cannot have; None if there is none."""
    card: DatasetCard = registry.card("dataset", train.dataset.name)
    for stage, recipe in train.recipes:
        if card.task == "segmentation":
            for key in OF_IMAGES_ALONE:
                if getattr(recipe, key):
                    return (
                        f"recipes.{stage}.{key}",
                        f"changes images without their masks, and {card.name} is segmentation",
                    )
        elif recipe.augment not in AUGMENTATIONS:
            return (
                f"recipes.{stage}.augment",
                f"{recipe.augment} is for segmentation, and {card.name} is classification",
            )
    return None
