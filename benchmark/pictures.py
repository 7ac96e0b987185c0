"""Test images for the atlas of a report, read from the user's copy of the data. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark import registry
from datasets.api import ImageSplit
from datasets.corrupt import corrupt
from datasets.errors import DataError
from datasets.images import decoded
from datasets.shift import Corruption
from datasets.split_rules import SplitRule
from datasets.splits import identity, stratified_head
from results.record import DoneRecord


class Pictures:
    """Test images by sample id.

    Args:
        data_dir: the user's folder of datasets, if any.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._read: dict[str, ImageSplit | None] = {}

    def __call__(self, record: DoneRecord, sample_ids: Sequence[int]) -> list[np.ndarray] | None:
        """The images of some test samples, each uint8 [H, W, C].

        None unless the record and the dataset's card permit showing images, the data is on this machine, and its test split is
        that of the record.
        """
        if not record.data.redistributable:
            return None
        split_identity = record.data.split_identity.get("test", "")
        if split_identity not in self._read:
            self._read[split_identity] = self._test_split(record, split_identity)
        split = self._read[split_identity]
        if split is None:
            return None
        position = {int(sample): i for i, sample in enumerate(split.sample_id)}
        images = list(decoded(split.images[np.array([position[sample] for sample in sample_ids])]))
        corruption = Corruption.of(record.spec.train.dataset.set)
        if corruption is None:
            return images
        return [corrupt(image, corruption, sample) for image, sample in zip(images, sample_ids, strict=True)]

    def _test_split(self, record: DoneRecord, split_identity: str) -> ImageSplit | None:
        dataset = record.spec.train.dataset
        card = registry.table("dataset").get(dataset.name)  # registered names only: paths in records are not followed
        if card is None or not card.redistributable:
            return None
        try:
            split = SplitRule.of(dataset.set).apply(card.read(self.data_dir))["test"]
        except DataError:
            return None
        split = stratified_head(split, dataset.set["test"]) if "test" in dataset.set else split
        return split if identity(split) == split_identity else None
