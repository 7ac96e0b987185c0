"""A warning where images are shrunk so far that fine detail is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmark import registry
from benchmark.execution.building import Builder
from benchmark.execution.checking import check_plan
from benchmark.execution.image_sizes import is_known_late, shrinking, shrunk
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.stages.plan import make_plan
from datasets.api import ImageSplit
from results.store.folder import Store
from tests.grids import tiny_grid, write_grid


@pytest.mark.parametrize(
    ("side", "backbone", "fits"), [(113, "vit_nano_patch4_28", "vit_nano_patch4_32"), (112, "", "")]
)
def test_images_are_shrunk_more_than_fourfold(tmp_path: Path, side: int, backbone: str, fits: str) -> None:
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (side + 90, side)).save(tmp_path / "photos" / name / f"{number}.png")
    grid = load_grid(write_grid(tmp_path / "grid.yaml", datasets=["folder:photos"]))
    sentences = shrinking(grid.runs)
    assert len(sentences) == bool(backbone)
    for sentence in sentences:
        assert f"folder:photos, about {side} pixels" in sentence
        assert f"28x28 of {backbone}" in sentence
        assert fits in sentence
        assert str(tmp_path) not in sentence


def test_the_bundled_images_fit(tmp_path: Path) -> None:
    assert shrinking(load_grid(write_grid(tmp_path / "grid.yaml", **tiny_grid())).runs) == []


def test_photos_for_a_small_backbone_are_a_warning() -> None:
    photos, scenes = (registry.card("dataset", name) for name in ("food-101", "voc-segmentation"))
    assert is_known_late(photos)
    assert shrunk(photos, 112, "vit_nano_patch4_28") is None
    assert shrunk(photos, 0, "vit_nano_patch4_28") is None  # a file that cannot be read
    warning = shrunk(photos, 300, "vit_nano_patch4_28")
    assert warning is not None
    for word in (
        "food-101",
        "300",
        "28x28",
        "grey",
        "vit_nano_patch4_28",
        "vit_base_patch16_224",
        "swin_base_patch4_window7_224",
    ):
        assert word in warning
    assert "vit_nano_patch8_64" not in warning
    assert "swin" not in str(shrunk(scenes, 300, "vit_nano_patch4_28"))  # segmentation refuses it


def test_photos_of_unknown_size_are_warned_of_when_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "results")
    plan = make_plan(load_grid(write_grid(tmp_path / "grid.yaml", **tiny_grid())), store)
    builder = Builder(store, torch.device("cpu"), None)
    inputs = builder.inputs(plan.missing_runs[0].spec.train)
    photos = ImageSplit(np.zeros((2, 300, 320, 1), np.uint8), np.arange(2), np.arange(2))
    for size, count in ((None, 1), (28, 0)):
        card = replace(inputs.card, image_size=size)
        read = replace(inputs, card=card, splits={"train": photos})
        monkeypatch.setattr(Builder, "inputs", lambda _self, _train, read=read: read)
        assert (
            len([text for text in check_plan(plan, builder, Reporter(Console(quiet=True))) if "300" in text]) == count
        )
