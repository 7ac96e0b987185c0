"""A run's data, read once a process and cut to the sizes that the grid asks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch.utils.data import DataLoader

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.spec import Recipe, TrainSpec
from datasets.api import DatasetCard, ImageSplit
from datasets.loading import Batch, scoring_batches, training_batches
from datasets.splits import stratified_head


@dataclass(frozen=True)
class Inputs:
    """The splits of a dataset as a backbone wants them."""

    card: DatasetCard
    splits: dict[str, ImageSplit]
    size: int
    channels: int

    def steps_per_epoch(self, recipe: Recipe) -> int:
        return -(-len(self.splits["train"]) // recipe.batch_size)

    def training(self, recipe: Recipe, purpose: str, seed: int, epoch: int, skip: int) -> DataLoader[Batch]:
        """The batches of one epoch from number ``skip`` on: order and augmentation depend on purpose, seed and epoch."""
        return training_batches(
            self.splits["train"],
            self.card,
            size=self.size,
            channels=self.channels,
            augment=recipe.augment,
            batch_size=recipe.batch_size,
            order_seed=seed_for("order", purpose, seed, epoch),
            augment_stream=seed_for("augment", purpose, seed, epoch),
            skip=skip,
        )

    def scoring(self, split: str) -> DataLoader[Batch]:
        return scoring_batches(self.splits[split], self.card, size=self.size, channels=self.channels)


def read_inputs(train: TrainSpec, data_dir: Path | None) -> Inputs:
    """
    Raises:
        DataError: a file is missing or damaged.
    """
    card = registry.card("dataset", train.dataset.name)
    backbone = registry.card("backbone", train.backbone)
    splits = dict(_read(train.dataset.name, data_dir))
    for split, count in train.dataset.set.items():
        splits[split] = stratified_head(splits[split], count)
    return Inputs(card, splits, backbone.image_size, backbone.channels)


@lru_cache(maxsize=2)
def _read(dataset: str, data_dir: Path | None) -> dict[str, ImageSplit]:
    return registry.card("dataset", dataset).read(data_dir)
