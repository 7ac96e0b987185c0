"""Rules that assign images to train, val and test. The default holds out val from the official train set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.api import SPLITS, DatasetCard, ImageSplit
from datasets.splits import SPLIT_SEED, merge, stratified_halves

MODES = {
    "held-out": "val is cut from the official train set, test is the official test set",
    "as-published": "train is the whole official train set, and the test set is also val: for comparison with published "
    "numbers that were chosen on test",
    "halves": "train is the whole official train set; val and test are stratified halves of the official test set",
}
RESPLITS = 10


@dataclass(frozen=True)
class SplitRule:
    """How images are assigned to splits.

    Attributes:
        mode: a key of `MODES`.
        resplit: index of the random split into halves, below `RESPLITS`; 0 unless the mode is ``halves``.
    """

    mode: str = "held-out"
    resplit: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SplitRule:
        """The rule from a dataset's options in a grid; other options are ignored."""
        return cls(options.get("split", "held-out"), options.get("resplit", 0))

    @property
    def label(self) -> str:
        """Part of run names; empty for the default."""
        if self.mode == "held-out":
            return ""
        return f"{self.mode}-{self.resplit}" if self.mode == "halves" else self.mode

    def describe(self, card: DatasetCard) -> str:
        """Description that is written to records."""
        if self.mode == "held-out":
            return f"{MODES[self.mode]}; val: {card.val_rule}" if card.has_official_splits else f"val: {card.val_rule}"
        resplit = f" (resplit {self.resplit} of {RESPLITS}, seed {SPLIT_SEED})" if self.mode == "halves" else ""
        return f"{self.mode}{resplit}: {MODES[self.mode]}"

    def fields(self) -> dict[str, Any]:
        """Key fields of a stage that reads every split; empty for the default."""
        if self.mode == "held-out":
            return {}
        return {"split": {"mode": self.mode, **({"resplit": self.resplit} if self.mode == "halves" else {})}}

    def train_fields(self) -> dict[str, Any]:
        """Key fields of a stage that reads only train; equal for the other two modes, which train on the same images."""
        return {} if self.mode == "held-out" else {"split": {"train": "train and val"}}

    def sizes(self, card: DatasetCard) -> dict[str, int]:
        """Number of images per split."""
        sizes = {split: card.sizes[split] for split in SPLITS}
        if self.mode == "held-out":
            return sizes
        train, test = sizes["train"] + sizes["val"], sizes["test"]
        if self.mode == "as-published":
            return {"train": train, "val": test, "test": test}
        return {"train": train, "val": test // 2, "test": test - test // 2}

    def seen_by(self, card: DatasetCard, split: str) -> tuple[str, ...]:
        """Names of the pretraining datasets that contain images of a split."""
        if self.mode == "held-out":
            return card.seen_by.get(split, ())
        origins = ("train", "val") if split == "train" else ("test",)
        return tuple(dict.fromkeys(name for origin in origins for name in card.seen_by.get(origin, ())))

    def apply(self, splits: Mapping[str, ImageSplit]) -> dict[str, ImageSplit]:
        """The splits under this rule, from the splits of the reader."""
        if self.mode == "held-out":
            return dict(splits)
        train, test = merge(splits["train"], splits["val"]), splits["test"]
        if self.mode == "as-published":
            return {"train": train, "val": test, "test": test}
        val, remainder = stratified_halves(test.labels, np.random.default_rng([SPLIT_SEED, self.resplit]))
        return {"train": train, "val": test.select(val), "test": test.select(remainder)}


def refusal(card: DatasetCard, rule: SplitRule, weights: str | None) -> str | None:
    """Why thresholds must not be chosen on this val split with these weights; None if they may be.

    Args:
        card: card of the dataset.
        rule: split rule of the dataset.
        weights: timm tag, or name of bundled weights; None for random initialisation and files.
    """
    seen = set(rule.seen_by(card, "val")) & trained_on(weights)
    if not seen:
        return None
    if set(card.seen_by.get("test", ())) & seen:
        advice = "every split may contain their training images; use other weights"
    else:
        advice = f"choose on halves of the official evaluation set: {{name: {card.name}, set: {{split: halves}}}}"
    return (
        f"thresholds would be chosen on val images of {card.name} that the weights {weights} were trained on "
        f"({', '.join(sorted(seen))}); {advice}"
    )


def trained_on(weights: str | None) -> set[str]:
    """Pretraining datasets of a timm tag or of bundled weights, named as in `DatasetCard.seen_by`.

    >>> trained_on("deit_base_distilled_patch16_224.fb_in1k")
    {'ImageNet'}
    """
    if weights is None:
        return set()
    tag = weights.partition(".")[2]
    if tag == "fashion-scenes":  # weights that ship with the suite
        return {tag}
    # ImageNet-12k, 21k and 22k contain the train images of ImageNet-1k.
    return {"ImageNet"} if any(part in tag for part in ("in1k", "in12k", "in21k", "in22k")) else set()
