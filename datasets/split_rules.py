"""What plays train, val and test: a held-out part by default; other rules exist, and carry their name wherever they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.api import SPLITS, DatasetCard, ImageSplit
from datasets.splits import merge, stratified_halves

MODES = {
    "held-out": "val is cut from the official train set, test is the official test set",
    "as-published": "train is the whole official train set, and the test set also plays val: for comparison with published "
    "numbers that were chosen on test",
    "halves": "train is the whole official train set; val and test are stratified halves of the official test set",
}
RESPLITS = 10
HALVES_SEED = 20230800255


@dataclass(frozen=True)
class SplitRule:
    """How a dataset's splits are arranged.

    Attributes:
        mode: a key of `MODES`.
        resplit: which of `RESPLITS` ways to halve; 0 unless the mode is ``halves``.
    """

    mode: str = "held-out"
    resplit: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SplitRule:
        """From a dataset's options in a grid, which hold sizes too."""
        return cls(options.get("split", "held-out"), options.get("resplit", 0))

    @property
    def label(self) -> str:
        """For names of runs; empty for the default."""
        if self.mode == "held-out":
            return ""
        return f"{self.mode}-{self.resplit}" if self.mode == "halves" else self.mode

    def describe(self, card: DatasetCard) -> str:
        """In words, for records."""
        if self.mode == "held-out":
            return f"{MODES[self.mode]}; val: {card.val_rule}"
        numbered = f" (resplit {self.resplit} of {RESPLITS}, seed {HALVES_SEED})" if self.mode == "halves" else ""
        return f"{self.mode}{numbered}: {MODES[self.mode]}"

    def fields(self) -> dict[str, Any]:
        """What a stage that reads every split puts into its key; nothing for the default."""
        if self.mode == "held-out":
            return {}
        return {"split": {"mode": self.mode, **({"resplit": self.resplit} if self.mode == "halves" else {})}}

    def train_fields(self) -> dict[str, Any]:
        """What a stage that reads train alone puts into its key: the other two modes train on the same images."""
        return {} if self.mode == "held-out" else {"split": {"train": "train and val"}}

    def sizes(self, card: DatasetCard) -> dict[str, int]:
        """Images per split."""
        found = {split: card.sizes[split] for split in SPLITS}
        if self.mode == "held-out":
            return found
        train, test = found["train"] + found["val"], found["test"]
        if self.mode == "as-published":
            return {"train": train, "val": test, "test": test}
        return {"train": train, "val": test // 2, "test": test - test // 2}

    def seen_by(self, card: DatasetCard, split: str) -> tuple[str, ...]:
        """The trainings whose weights have seen images of a split."""
        if self.mode == "held-out":
            return card.seen_by.get(split, ())
        origins = ("train", "val") if split == "train" else ("test",)
        return tuple(dict.fromkeys(name for origin in origins for name in card.seen_by.get(origin, ())))

    def apply(self, splits: Mapping[str, ImageSplit]) -> dict[str, ImageSplit]:
        """The card's splits, arranged."""
        if self.mode == "held-out":
            return dict(splits)
        train, test = merge(splits["train"], splits["val"]), splits["test"]
        if self.mode == "as-published":
            return {"train": train, "val": test, "test": test}
        val, rest = stratified_halves(test.labels, np.random.default_rng([HALVES_SEED, self.resplit]))
        return {"train": train, "val": test.select(val), "test": test.select(rest)}


def refusal(card: DatasetCard, rule: SplitRule, weights: str | None) -> str | None:
    """Why thresholds must not be chosen on this val with these pretrained weights; None where they may.

    Args:
        card: of the dataset.
        rule: how its splits are arranged.
        weights: timm's tag of the weights that training starts from; None for a random start.
    """
    seen = set(rule.seen_by(card, "val")) & trained_on(weights)
    if not seen:
        return None
    if set(card.seen_by.get("test", ())) & seen:
        advice = "no split of it is unseen; start from other weights"
    else:
        advice = f"choose on halves of the official evaluation set: {{name: {card.name}, set: {{split: halves}}}}"
    return (
        f"thresholds would be chosen on val images of {card.name} that the weights {weights} were trained on "
        f"({', '.join(sorted(seen))}); {advice}"
    )


def trained_on(weights: str | None) -> set[str]:
    """The names, as in `DatasetCard.seen_by`, that a timm tag gives away.

    >>> trained_on("deit_base_distilled_patch16_224.fb_in1k")
    {'ImageNet'}
    """
    if weights is None:
        return set()
    tag = weights.partition(".")[2]
    # ImageNet-12k, 21k and 22k contain the train images of ImageNet-1k.
    return {"ImageNet"} if any(part in tag for part in ("in1k", "in12k", "in21k", "in22k")) else set()
