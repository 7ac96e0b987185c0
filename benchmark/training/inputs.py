"""The data of a run: read once per process, split by the run's rule, and reduced to the sizes in the grid."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.training.ranks import ALONE, Ranks
from datasets.api import SPLITS, DataError, DatasetCard, ImageSplit
from datasets.corrupt import corrupted
from datasets.images import ImageFiles
from datasets.loading import BatchLoader, Workers, scoring_batches, training_batches
from datasets.shares import Share
from datasets.shift import Corruption
from datasets.split_rules import SplitRule
from datasets.splits import content, identity, stratified_head
from datasets.timm_augment import StrongAugmentation
from datasets.transforms import evaluation_summary, training_summary
from methods.api import BackboneCard
from results.record import DataCard
from results.spec import Configured, Recipe, TrainSpec
from results.text import printable

MAX_LOADER_PROCESSES = 8
CHEAP_SIZE = 64


@dataclass(frozen=True)
class Inputs:
    """The splits of a dataset, with the image size and channels of a backbone."""

    card: DatasetCard
    splits: dict[str, ImageSplit]
    size: int
    channels: int
    workers: Workers
    rule: SplitRule
    recipes: Mapping[str, Recipe]
    corruption: Corruption | None = None

    def steps_per_epoch(self, recipe: Recipe) -> int:
        return -(-len(self.splits["train"]) // recipe.batch_size)

    def training(
        self, recipe: Recipe, purpose: str, seed: int, epoch: int, skip: int, ranks: Ranks = ALONE
    ) -> BatchLoader:
        """The batches of one epoch, after the first ``skip``. Order and augmentation depend on purpose, seed and epoch.

        Each rank gets its share of every batch.
        """
        return training_batches(
            self.splits["train"],
            self.card,
            size=self.size,
            channels=self.channels,
            augment=recipe.augment,
            strong=strong_augmentation(recipe),
            batch_size=recipe.batch_size,
            order_seed=seed_for("order", purpose, seed, epoch),
            augment_stream=seed_for("augment", purpose, seed, epoch),
            skip=skip,
            workers=self.workers,
            share=ranks.share(recipe),
        )

    def scoring(self, split: str, ranks: Ranks = ALONE) -> BatchLoader:
        """A split in stored order. Rank r gets batches r, r + size, ..."""
        return scoring_batches(
            self.splits[split],
            self.card,
            size=self.size,
            channels=self.channels,
            workers=self.workers,
            share=Share(ranks.rank, ranks.size),
        )

    def transforms(self) -> dict[str, str]:
        """The transforms of an image in words, for each training stage and for scoring."""
        transforms = {
            stage: training_summary(self.card, self.size, self.channels, recipe.augment, strong_augmentation(recipe))
            for stage, recipe in self.recipes.items()
        }
        return transforms | {"scores": evaluation_summary(self.card, self.size, self.channels)}

    def data_card(self) -> DataCard:
        """The description of the data in a record."""
        return DataCard(
            name=self.card.name,
            split_rule="; ".join(
                [self.rule.describe(self.card), *([self.corruption.describe()] if self.corruption else [])]
            ),
            transforms=self.transforms(),
            fingerprint=self.card.fingerprint,
            task=self.card.task,
            classes=len(self.card.classes),
            class_names=tuple(map(printable, self.card.classes)),
            sizes={split: len(images) for split, images in self.splits.items()},
            split_identity={split: identity(images) for split, images in self.splits.items()},
            content=self.content(),
            citation=self.card.citation,
            licence=self.card.licence,
            redistributable=self.card.redistributable,
        )

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 over images, labels and sample ids, by split."""
        return {
            name: hashlib.sha256(f"{_content(split)} {_identity(split)}".encode()).hexdigest()
            for name, split in self.splits.items()
        }

    def check_ranks(self, split: str, ranks: Ranks) -> None:
        """Compare a split between the processes that train or score together; each of them calls this.

        Raises:
            DataError: they have read different images or labels. It is raised in every process.
        """
        if ranks.size > 1 and not ranks.agree(self.fingerprints()[split]):
            raise DataError(
                f"the processes that work together read different {split} images or labels of {self.card.name}; give every "
                "node the same copy"
            )

    def content(self) -> dict[str, str]:
        """SHA-256 over the images, by split."""
        return {name: _content(split) for name, split in self.splits.items()}


def strong_augmentation(recipe: Recipe) -> StrongAugmentation:
    """The augmentation that a recipe adds to its basic one."""
    return StrongAugmentation(recipe.rand_augment, recipe.erasing, recipe.mixup, recipe.cutmix)


def read_inputs(train: TrainSpec, data_dir: Path | None, workers: int | None = None, pin: bool = False) -> Inputs:
    """The data of a run for the backbone that it trains, normalised as its weights require; see `inputs_of`."""
    backbone = registry.card("backbone", (train.replacement or train).backbone)
    recipes = {stage: getattr(train.recipes, stage) for stage in ("finetune", "joint", "exits")}
    return replace(inputs_of(train.dataset, backbone, recipes, data_dir, workers, pin), card=input_card(train))


def input_card(train: TrainSpec) -> DatasetCard:
    """The card of a run's dataset, with the normalisation that the weights of its backbone require."""
    card: DatasetCard = registry.card("dataset", train.dataset.name)
    weights = (train.replacement or train).weights
    if weights.mean is None or weights.std is None:
        return card
    return replace(card, mean=weights.mean, std=weights.std)


def inputs_of(
    dataset: Configured,
    backbone: BackboneCard,
    recipes: Mapping[str, Recipe],
    data_dir: Path | None,
    workers: int | None = None,
    pin: bool = False,
) -> Inputs:
    """
    Args:
        dataset: with its split rule and sizes.
        backbone: sets image size and channels.
        recipes: of the stages that train, for the record.
        data_dir: the user's folder of datasets, if any.
        workers: processes that load batches; None to choose by the size of the work and the machine.
        pin: whether batches go to page-locked memory.

    Raises:
        DataError: a file is missing or damaged.
    """
    card = registry.card("dataset", dataset.name)
    splits = _read(dataset.name, json.dumps(dataset.set, sort_keys=True), data_dir)
    if workers is None:
        workers = _sensible_workers(splits, backbone.image_size, recipes)
    return Inputs(
        card, splits, backbone.image_size, backbone.channels, Workers(workers, pin), SplitRule.of(dataset.set), recipes,
        Corruption.of(dataset.set),
    )  # fmt: skip


@lru_cache(maxsize=8)
def _content(split: ImageSplit) -> str:
    return content(split)


@lru_cache(maxsize=8)
def _identity(split: ImageSplit) -> str:
    return identity(split)


@lru_cache(maxsize=2)
def _read(dataset: str, options: str, data_dir: Path | None) -> dict[str, ImageSplit]:
    chosen = json.loads(options)
    splits = SplitRule.of(chosen).apply(registry.card("dataset", dataset).read(data_dir))
    splits = {name: stratified_head(split, chosen[name]) if name in chosen else split for name, split in splits.items()}
    for name, split in splits.items():
        if not split.has_counted():
            what = "pixel" if split.boxes is None else "object"
            raise DataError(
                f"no {what} that counts is in the {len(split):,} {name} images of {dataset}; at least one is needed, so take "
                "more images in the grid"
            )
    splits = {name: split.in_memory() for name, split in splits.items()}
    corruption = Corruption.of(chosen)
    return splits if corruption is None else splits | {"test": corrupted(splits["test"], corruption)}


def _sensible_workers(splits: dict[str, ImageSplit], size: int, recipes: Mapping[str, Recipe]) -> int:
    """0 for small images in memory, which take no time to load; else one process per CPU, less one for the training."""
    in_memory = not any(isinstance(splits[name].images, ImageFiles) for name in SPLITS)
    if size <= CHEAP_SIZE and in_memory and not any(recipe.rand_augment for recipe in recipes.values()):
        return 0
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(MAX_LOADER_PROCESSES, available_cpus() // local_ranks - 1))


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))
