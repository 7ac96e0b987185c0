"""The data of a run: what is refused before anything trains."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.registry import card
from benchmark.training.inputs import inputs_of
from datasets.api import IGNORED, SPLITS, DataError, DatasetCard, ImageSplit
from results.spec import Configured


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_an_object_is_refused(split: str) -> None:
    """The first synthetic image shows none, and AP needs one."""
    dataset = "synthetic:fashion-scenes-detection"
    with pytest.raises(DataError, match=rf"no object .* 1 {split} images of {dataset}"):
        inputs_of(Configured(name=dataset, set={split: 1}), card("backbone", "vit_nano_patch4_64"), {}, None, workers=0)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_a_labelled_pixel_is_refused(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mIoU is not a number, which no record can hold."""
    splits = {
        name: ImageSplit(
            np.zeros((3, 8, 8, 1), np.uint8),
            np.zeros(3, np.int64),
            np.arange(3) + 3 * number,
            np.full((3, 8, 8), IGNORED if name == split else 0, np.uint8),
        )
        for number, name in enumerate(SPLITS)
    }
    monkeypatch.setattr(DatasetCard, "read", lambda card, data_dir: splits)
    dataset = Configured(name="fashion-scenes", set={split: 2})
    with pytest.raises(DataError, match=rf"no pixel .* 2 {split} images of fashion-scenes"):
        inputs_of(dataset, card("backbone", "vit_nano_patch4_64"), {}, None, workers=0)
