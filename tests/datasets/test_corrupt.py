"""Corruptions of test images: every kind and severity, repeatable per image, and of test alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.inputs import read_inputs
from datasets.api import DataError, ImageSplit
from datasets.corrupt import KINDS, PARAMETERS, corrupt, corrupted
from datasets.images import ImageFiles, ImageList, encoded
from datasets.shift import CORRUPTIONS, SEVERITIES, Corruption

GREY, COLOUR = ((28, 28, 1), (80, 72, 3))


def image(shape: tuple[int, ...]) -> np.ndarray:
    """A smooth picture with a bright square."""
    rows, columns = np.indices(shape[:2])
    values = 60 + 60 * np.sin(rows / 5) * np.cos(columns / 7)
    values[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 220
    return np.repeat(values[..., None], shape[2], -1).astype(np.uint8)


def test_every_corruption_has_code_and_five_severities() -> None:
    assert set(KINDS) == set(PARAMETERS) == set(CORRUPTIONS)
    assert len(CORRUPTIONS) == 15
    assert all(len(levels) == 5 for sizes in PARAMETERS.values() for levels in sizes)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_repeatable_and_grows(name: str, shape: tuple[int, ...]) -> None:
    clean = image(shape)
    before = clean.copy()
    changes = []
    for severity in SEVERITIES:
        result = corrupt(clean, Corruption(name, severity), 7)
        assert result.shape == clean.shape
        assert result.dtype == np.uint8
        assert np.array_equal(result, corrupt(clean, Corruption(name, severity), 7))
        changes.append(np.abs(result.astype(float) - clean).mean())
    assert np.array_equal(clean, before)
    assert changes[-1] > 1
    assert changes[-1] > 0.9 * changes[0]


def test_the_random_numbers_belong_to_the_sample() -> None:
    images = np.stack([image(GREY)] * 3)
    split = ImageSplit(images, np.arange(3), np.array([5, 9, 2]))
    noise = Corruption("gaussian_noise", 3)
    together = corrupted(split, noise)
    assert not np.array_equal(together.images[0], together.images[1])  # type: ignore[index]
    alone = corrupted(split.select(np.array([2])), noise)
    assert np.array_equal(alone.images[0], together.images[2])  # type: ignore[index]
    mixed = corrupted(ImageSplit(ImageList((images[0], image(COLOUR))), np.arange(2), np.arange(2)), noise)
    assert isinstance(mixed.images, ImageList)
    assert [array.shape for array in mixed.images.arrays] == [GREY, COLOUR]


def test_images_that_are_not_in_memory_are_refused(tmp_path: Path) -> None:
    split = ImageSplit(ImageFiles(tmp_path, encoded(["a.png"])), np.zeros(1, int), np.zeros(1, int))
    with pytest.raises(DataError, match="fog"):
        corrupted(split, Corruption("fog", 1))


def test_only_test_and_its_scores_change(tmp_path: Path) -> None:
    sizes = "train: 20, val: 10, test: 12"
    (tmp_path / "grid.yaml").write_text(f"""
name: shift
backbones: [vit_nano_patch4_28]
datasets:
  - {{name: fashion-mnist-mini, set: {{{sizes}}}}}
  - {{name: fashion-mnist-mini, set: {{{sizes}, corruption: {{name: contrast, severity: 5}}}}}}
methods: [lgvit]
""")
    clean, shifted = load_grid(tmp_path / "grid.yaml").runs
    stages = [run_stages(run) for run in (clean, shifted)]
    assert stages[0].training == stages[1].training or [s.key for s in stages[0].training] == [
        s.key for s in stages[1].training
    ]
    assert stages[0].cost.key == stages[1].cost.key
    assert stages[0].scores.key != stages[1].scores.key
    assert "contrast-5" in stages[1].run_id
    assert "contrast-5" in shifted.train.dataset.label
    inputs = [read_inputs(run.train, None) for run in (clean, shifted)]
    content = [each.content() for each in inputs]
    assert {split: content[0][split] == content[1][split] for split in content[0]} == {
        "train": True, "val": True, "test": False,
    }  # fmt: skip
    card = inputs[1].data_card()
    assert "contrast of severity 5" in card.split_rule
    assert card.split_identity == inputs[0].data_card().split_identity
