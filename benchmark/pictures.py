"""Test images for a report's atlas, read from the user's copy of the data; reports themselves read records alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark import registry
from datasets.api import ImageSplit
from datasets.errors import DataError
from datasets.images import decoded
from datasets.split_rules import SplitRule
from datasets.splits import identity, stratified_head
from results.record import DoneRecord


class Pictures:
    """Test images by sample id.

    Args:
        data_dir: where the user keeps datasets, if named.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._read: dict[str, ImageSplit | None] = {}

    def __call__(self, record: DoneRecord, sample_ids: Sequence[int]) -> list[np.ndarray] | None:
        """Each uint8 [H, W, C]; None unless the record and the dataset's card allow to show the images, the data is here, and
        its test split is the record's."""
        if not record.data.redistributable:
            return None
        wanted = record.data.split_identity.get("test", "")
        if wanted not in self._read:
            self._read[wanted] = self._test_split(record, wanted)
        split = self._read[wanted]
        if split is None:
            return None
        position = {int(sample): i for i, sample in enumerate(split.sample_id)}
        return list(decoded(split.images[np.array([position[sample] for sample in sample_ids])]))

    def _test_split(self, record: DoneRecord, wanted: str) -> ImageSplit | None:
        chosen = record.spec.train.dataset
        card = registry.table("dataset").get(chosen.name)  # a registered name: no path in a record is followed
        if card is None or not card.redistributable:
            return None
        try:
            split = SplitRule.of(chosen.set).apply(card.read(self.data_dir))["test"]
        except DataError:
            return None
        split = stratified_head(split, chosen.set["test"]) if "test" in chosen.set else split
        return split if identity(split) == wanted else None
