"""The data of a run: what is refused before anything trains."""

from __future__ import annotations

import pytest

from benchmark.registry import card
from benchmark.training.inputs import inputs_of
from datasets.api import DataError
from results.spec import Configured


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_an_object_is_refused(split: str) -> None:
    """The first synthetic image shows none, and AP needs one."""
    dataset = "synthetic:fashion-scenes-detection"
    with pytest.raises(DataError, match=rf"no object .* 1 {split} images of {dataset}"):
        inputs_of(Configured(name=dataset, set={split: 1}), card("backbone", "vit_nano_patch4_64"), {}, None, workers=0)
