"""A warning where images are shrunk so far that fine detail is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmark.execution.image_sizes import shrinking
from benchmark.grid.load import load_grid
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
        assert f"28 of {backbone}" in sentence
        assert fits in sentence
        assert str(tmp_path) not in sentence


def test_the_bundled_images_fit(tmp_path: Path) -> None:
    assert shrinking(load_grid(write_grid(tmp_path / "grid.yaml", **tiny_grid())).runs) == []
