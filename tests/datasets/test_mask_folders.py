"""Readers of sets of segmentation in their official folders: the class of each stored value, and what is missing or wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import OxfordIIITPet
from torchvision.datasets.voc import DATASET_YEAR_DICT

from datasets import ade20k, oxford_pets, voc
from datasets.api import IGNORED, DataError, ImageSplit
from datasets.images import decode_file
from datasets.masks import MaskFiles
from tests.datasets.formats import write_ade20k, write_pets, write_voc

TRIMAP = np.array([[1, 1, 3, 2], [1, 3, 2, 2], [3, 2, 2, 2]], np.uint8)
PALETTE = np.array([[0, 0, 255, 15], [20, 20, 255, 15]], np.uint8)
SCENE = np.array([[0, 1, 1], [150, 0, 13]], np.uint8)


def masks(split: ImageSplit) -> list[np.ndarray]:
    images, decoded = split.decode()
    assert decoded is not None
    assert [image.shape[:2] for image in images] == [mask.shape for mask in decoded]
    return list(decoded)


def decode_all(splits: dict[str, ImageSplit]) -> None:
    for split in splits.values():
        split.decode()


def check_ids(splits: dict[str, ImageSplit], sizes: dict[str, int]) -> None:
    assert {name: len(split) for name, split in splits.items()} == sizes
    assert not set(splits["train"].sample_id) & set(splits["val"].sample_id)


def test_a_trimap_has_the_pet_the_background_and_an_ignored_border(tmp_path: Path) -> None:
    write_pets(tmp_path, breeds=3, trainval=4, test=2, values=TRIMAP)
    splits = oxford_pets.read(tmp_path, val_per_breed=1)
    check_ids(splits, {"train": 9, "val": 3, "test": 6})
    for split in splits.values():
        for mask in masks(split):
            assert mask.tolist() == [[1, 1, 255, 0], [1, 255, 0, 0], [255, 0, 0, 0]]
    assert splits["val"].labels.tolist() == [0, 1, 2]


def test_breeds_are_classes_of_the_pet_alone(tmp_path: Path) -> None:
    write_pets(tmp_path, breeds=3, trainval=4, test=2, values=TRIMAP)
    splits = oxford_pets.read_breeds(tmp_path, val_per_breed=1)
    card = oxford_pets.OXFORD_PETS_BREEDS
    assert len(card.classes) == 38
    for split in splits.values():
        for mask, breed in zip(masks(split), split.labels, strict=True):
            assert mask.tolist() == [[breed + 1] * 2 + [255, 0], [breed + 1, 255, 0, 0], [255, 0, 0, 0]]
    in_memory = splits["train"].in_memory()
    assert np.array_equal(in_memory.masks, np.stack(masks(splits["train"])))  # type: ignore[arg-type]


def test_a_palette_image_is_read_by_its_indices_and_not_by_its_colours(tmp_path: Path) -> None:
    write_voc(tmp_path, train=5, val=2, values=PALETTE)
    splits = voc.read(tmp_path, val=2)
    check_ids(splits, {"train": 3, "val": 2, "test": 2})
    for split in splits.values():
        for mask in masks(split):
            assert np.array_equal(mask, PALETTE)
    assert isinstance(splits["test"].masks, MaskFiles)
    path = splits["test"].masks.path(0)
    with Image.open(path) as image:
        assert image.mode == "P"
    assert decode_file(path)[0, 2].tolist() != [255, 255, 255]  # what the colours would give


def test_zero_is_ignored_in_ade20k_and_the_first_class_is_1(tmp_path: Path) -> None:
    write_ade20k(tmp_path, training=4, validation=3, values=SCENE)
    splits = ade20k.read(tmp_path, val=1)
    check_ids(splits, {"train": 3, "val": 1, "test": 3})
    for split in splits.values():
        for mask in masks(split):
            assert mask.tolist() == [[IGNORED, 0, 0], [149, IGNORED, 12]]
    names = ade20k.ADE20K.classes
    assert (names[0], names[12], names[149]) == ("wall", "person", "flag")


READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], dict[str, ImageSplit]], str, str]] = {
    "pets": (
        lambda folder: write_pets(folder, 2, 3, 1, TRIMAP),
        lambda folder: oxford_pets.read(folder, val_per_breed=1),
        "images/A_breed_0_0.jpg",
        "annotations/trimaps/A_breed_0_0.png",
    ),
    "voc": (
        lambda folder: write_voc(folder, 3, 2, PALETTE),
        lambda folder: voc.read(folder, val=1),
        "JPEGImages/2007_train_000000.jpg",
        "SegmentationClass/2007_train_000000.png",
    ),
    "ade20k": (
        lambda folder: write_ade20k(folder, 3, 2, SCENE),
        lambda folder: ade20k.read(folder, val=1),
        "images/training/ADE_train_00000001.jpg",
        "annotations/training/ADE_train_00000001.png",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_image_mask_or_folder_is_named(name: str, tmp_path: Path) -> None:
    write, read, image, mask = READERS[name]
    write(tmp_path)
    (tmp_path / mask).rename(tmp_path / "elsewhere.png")
    with pytest.raises(DataError, match=f"mask {re.escape(str(tmp_path / mask))}"):
        read(tmp_path)
    (tmp_path / "elsewhere.png").rename(tmp_path / mask)
    if name != "ade20k":  # whose folder is the list of its images
        (tmp_path / image).rename(tmp_path / "elsewhere.jpg")
        with pytest.raises(DataError, match=f"image {re.escape(str(tmp_path / image))}"):
            read(tmp_path)
        (tmp_path / "elsewhere.jpg").rename(tmp_path / image)
    for folder in ((tmp_path / mask).parent, (tmp_path / image).parent):
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(DataError, match=f"no folder {re.escape(str(folder))}"):
            read(tmp_path)
        (tmp_path / "elsewhere").rename(folder)
    read(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("pets", 0), ("pets", 4), ("voc", 21), ("ade20k", 151)])
def test_a_value_outside_the_list_is_named_with_its_file(name: str, value: int, tmp_path: Path) -> None:
    write, read, image, mask = READERS[name]
    write(tmp_path)
    with Image.open(tmp_path / image) as photo:
        Image.new("L", photo.size, value).save(tmp_path / mask)
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path / mask))} .*\b{value}\b"):
        decode_all(read(tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_a_mask_in_colours_or_of_another_size_is_named(name: str, tmp_path: Path) -> None:
    write, read, _, mask = READERS[name]
    write(tmp_path)
    for wrong, match in ((Image.new("RGB", (4, 3)), "RGB"), (Image.new("L", (9, 9), 1), "9 x 9")):
        wrong.save(tmp_path / mask)
        with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path / mask))} .*{match}"):
            decode_all(read(tmp_path))


@pytest.mark.parametrize(("file", "line"), [
    ("annotations/trainval.txt", "A_breed_0_0 38 1 1"), ("annotations/trainval.txt", "A_breed_0_0 1"),
    ("annotations/test.txt", "../../etc/passwd 1 1 1"),
])  # fmt: skip
def test_a_wrong_line_of_a_list_is_named(file: str, line: str, tmp_path: Path) -> None:
    write_pets(tmp_path, 2, 3, 1, TRIMAP)
    (tmp_path / file).write_text(f"A_breed_0_1 1 1 1\n{line}\n")
    with pytest.raises(DataError, match=rf"{Path(file).name}, line 2"):
        oxford_pets.read(tmp_path, val_per_breed=1)


def test_archives_and_their_checksums_are_those_of_torchvision() -> None:
    pets = {url.rpartition("/")[2]: md5 for url, md5 in OxfordIIITPet._RESOURCES}
    for card in (oxford_pets.OXFORD_PETS, oxford_pets.OXFORD_PETS_BREEDS):
        assert {archive.name: archive.md5 for archive in card.archives} == pets
    of_voc = DATASET_YEAR_DICT["2012"]
    (archive,) = voc.VOC_SEGMENTATION.archives
    assert (archive.name, archive.md5) == (of_voc["filename"], of_voc["md5"])
