"""Every kind of image file becomes 8-bit RGB, and the error for a damaged one names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles, ImageList, decode_file, encoded, image_names
from tests.datasets.formats import write_image


def save(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)  # type: ignore[arg-type]
    return decode_file(path)


def test_every_image_mode_becomes_8_bit_rgb(tmp_path: Path) -> None:
    size = (7, 5)
    grey16 = Image.fromarray(np.full((5, 7), 257 * 100, np.uint16))
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    half = Image.new("RGBA", size, (0, 0, 0, 0))
    cases = {
        "grey.png": (Image.new("L", size, 90), (90, 90, 90)),
        "black-white.png": (Image.new("1", size, 1), (255, 255, 255)),
        "palette.png": (palette, (10, 200, 30)),
        "grey16.png": (grey16, (100, 100, 100)),
        "grey16.tif": (grey16, (100, 100, 100)),
        "clear.png": (half, (255, 255, 255)),
        "solid.png": (Image.new("RGBA", size, (10, 20, 30, 255)), (10, 20, 30)),
        "cmyk.tif": (Image.new("CMYK", size, (0, 255, 255, 0)), (255, 0, 0)),
    }
    for name, (image, colour) in cases.items():
        pixels = save(tmp_path / name, image)
        assert pixels.shape == (5, 7, 3), name
        assert pixels.dtype == np.uint8, name
        assert np.abs(pixels.astype(int) - colour).max() <= 1, name
    cmyk = save(tmp_path / "cmyk.jpg", Image.new("CMYK", size, (0, 255, 255, 0)), quality=95)
    assert np.abs(cmyk.astype(int) - (255, 0, 0)).max() < 12


def test_palette_transparency_becomes_white(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert (save(tmp_path / "clear.png", palette, transparency=1) == 255).all()


def test_undecodable_images_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    truncated, text = tmp_path / "truncated.jpg", tmp_path / "text.jpg"
    truncated.write_bytes(whole.read_bytes()[:1500])
    text.write_text("no picture")
    for path in (truncated, text, tmp_path / "gone.jpg"):
        with pytest.raises(DataError, match=f"{path.name} "):
            decode_file(path)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif "):
        decode_file(tmp_path / "float.tif")


def test_files_are_decoded_on_demand_and_in_the_requested_order(tmp_path: Path) -> None:
    for i, size in enumerate([(4, 4), (6, 5), (9, 3)]):
        write_image(tmp_path / f"{i}.png", (i, i, i), size)
    files = ImageFiles(tmp_path, encoded(["0.png", "1.png", "2.png"]))
    decoded = files[np.array([2, 0])].decode()
    assert [image[0, 0, 0] for image in decoded] == [2, 0]
    (tmp_path / "1.png").unlink()
    assert len(files[np.array([0, 2])].decode()) == 2  # the deleted file was not requested


def test_a_class_name_can_contain_any_characters(tmp_path: Path) -> None:
    name = "où ça (1) 'é'.png"
    write_image(tmp_path / name, (9, 9, 9))
    assert ImageFiles(tmp_path, encoded([name])).decode()[0][0, 0, 0] == 9


def test_small_datasets_are_kept_decoded_and_large_ones_are_not(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / f"{i}.png", (i, i, i), (6, 6))
    files = ImageFiles(tmp_path, encoded([f"{i}.png" for i in range(4)]))
    same = ImageSplit(files, np.zeros(4, int), np.arange(4))
    in_memory = same.in_memory().images
    assert isinstance(in_memory, np.ndarray)
    assert in_memory[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert same.in_memory(limit=4 * 6 * 6 * 3 - 1) is same
    write_image(tmp_path / "3.png", (3, 3, 3), (8, 6))
    mixed = same.in_memory().images
    assert isinstance(mixed, ImageList)
    assert [image.shape for image in mixed[np.array([True, False, False, True])].decode()] == [(6, 6, 3), (6, 8, 3)]


def test_other_files_in_a_folder_are_ignored(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.png", ".hidden.png", "notes.txt"):
        write_image(tmp_path / "x.png", (0, 0, 0))
        (tmp_path / "x.png").rename(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    assert image_names(tmp_path) == ["a.png", "b.JPEG"]


def test_a_small_file_with_too_many_pixels_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (13_300, 13_300)).save(path)
    assert path.stat().st_size < 30_000
    with pytest.raises(DataError, match=r"bomb\.png .*13,300 x 13,300"):
        decode_file(path)
