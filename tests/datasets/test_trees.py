"""Readers of datasets that consist of image files: official folders, lists and labels, and missing files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datasets import food101, imagenet, tiny_imagenet
from datasets.api import DataError, ImageSplit
from datasets.images import ImageFiles, decoded
from tests.datasets.formats import (
    write_devkit,
    write_food101,
    write_image,
    write_imagenet_train,
    write_imagenet_val,
    write_tiny_imagenet,
)

DISHES = ("apple_pie", "cheese_plate", "cheesecake")
WNIDS = ("n01440764", "n01443537", "n01484850")
VAL_LABELS = [2, 0, 1, 1, 0, 2]


def reds(split: ImageSplit) -> list[int]:
    """Class of every image by its colour: the writers paint class k with red 40 k."""
    return [round(float(image[:, :, 0].mean()) / 40) for image in decoded(split.images)]


def check(splits: dict[str, ImageSplit], sizes: dict[str, int]) -> None:
    assert {name: len(split) for name, split in splits.items()} == sizes
    for split in splits.values():
        assert isinstance(split.images, ImageFiles)
        assert reds(split) == split.labels.tolist()
        assert len(np.unique(split.sample_id)) == len(split)
    assert not set(splits["train"].sample_id) & set(splits["val"].sample_id)


def test_food_101_follows_its_lists(tmp_path: Path) -> None:
    write_food101(tmp_path, DISHES, train=4, test=2)
    splits = food101.read(tmp_path, DISHES, val_per_class=1)
    check(splits, {"train": 9, "val": 3, "test": 6})
    lines = (tmp_path / "meta" / "test.txt").read_text().split()
    images = splits["test"].images
    assert isinstance(images, ImageFiles)
    assert [images.path(i).relative_to(tmp_path / "images").as_posix() for i in range(6)] == [f"{n}.jpg" for n in lines]


def test_food_101_names_a_line_that_is_wrong(tmp_path: Path) -> None:
    write_food101(tmp_path, DISHES, train=4, test=2)
    path = tmp_path / "meta" / "train.txt"
    for wrong in ("appel_pie/1", "apple_pie/../../etc/passwd", "apple_pie"):
        path.write_text(f"apple_pie/1000000\n{wrong}\n")
        with pytest.raises(DataError, match=r"train\.txt, line 2"):
            food101.read(tmp_path, DISHES, val_per_class=1)


@pytest.mark.parametrize("labelled_by", ["folders", "devkit", "kaggle"])
def test_imagenet_in_three_formats(tmp_path: Path, labelled_by: str) -> None:
    root = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" if labelled_by == "kaggle" else tmp_path
    write_imagenet_train(root, WNIDS, per_class=5)
    write_imagenet_val(root, VAL_LABELS, WNIDS, flat=labelled_by != "folders")
    if labelled_by == "devkit":
        write_devkit(root, VAL_LABELS, WNIDS)
    elif labelled_by == "kaggle":
        rows = [f"ILSVRC2012_val_{n:08d},{WNIDS[label]} 1 2 30 40" for n, label in enumerate(VAL_LABELS, start=1)]
        (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]) + "\n")
    splits = imagenet.read(root, WNIDS, val_per_class=2)
    check(splits, {"train": 9, "val": 6, "test": 6})
    assert splits["test"].labels.tolist() == VAL_LABELS
    assert splits["test"].sample_id.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("encoding", "separator", "works"), [
    ("utf-8-sig", ",", True), ("utf-16", ",", False), ("utf-8", ";", False),
])  # fmt: skip
def test_kaggles_table_in_other_formats(tmp_path: Path, encoding: str, separator: str, works: bool) -> None:
    write_imagenet_train(tmp_path, WNIDS, per_class=3)
    write_imagenet_val(tmp_path, VAL_LABELS, WNIDS, flat=True)
    rows = [f"ILSVRC2012_val_{n:08d}{separator}{WNIDS[label]} 1 2 30 40" for n, label in enumerate(VAL_LABELS, start=1)]
    table = "\n".join([f"ImageId{separator}PredictionString", *rows]) + "\n"
    (tmp_path / "LOC_val_solution.csv").write_text(table, encoding=encoding)
    if works:
        assert imagenet.read(tmp_path, WNIDS, val_per_class=1)["test"].labels.tolist() == VAL_LABELS
    else:
        with pytest.raises(DataError, match="LOC_val_solution"):
            imagenet.read(tmp_path, WNIDS, val_per_class=1)


@pytest.mark.parametrize("content", [b"junk" * 100, b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\x02IM", b""])
def test_a_damaged_development_kit_is_named(tmp_path: Path, content: bytes) -> None:
    write_imagenet_train(tmp_path, WNIDS, per_class=3)
    write_imagenet_val(tmp_path, VAL_LABELS, WNIDS, flat=True)
    write_devkit(tmp_path, VAL_LABELS, WNIDS)
    (tmp_path / imagenet.DEVKIT / "meta.mat").write_bytes(content)
    with pytest.raises(DataError, match="meta"):
        imagenet.read(tmp_path, WNIDS, val_per_class=1)


def test_imagenet_names_missing_files(tmp_path: Path) -> None:
    write_imagenet_train(tmp_path, WNIDS, per_class=3)
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "val"))):
        imagenet.read(tmp_path, WNIDS, val_per_class=1)
    write_imagenet_val(tmp_path, VAL_LABELS, WNIDS, flat=True)
    with pytest.raises(DataError, match=r"LOC_val_solution.csv .*devkit_t12"):
        imagenet.read(tmp_path, WNIDS, val_per_class=1)
    write_devkit(tmp_path, VAL_LABELS[:-1], WNIDS)
    with pytest.raises(DataError, match=r"val: .*\b6$"):
        imagenet.read(tmp_path, WNIDS, val_per_class=1)
    write_image(tmp_path / "val" / "holiday.JPEG", (0, 0, 0))
    with pytest.raises(DataError, match=r"holiday\.JPEG .*ILSVRC2012_val_00000001\.JPEG"):
        imagenet.read(tmp_path, WNIDS, val_per_class=1)


def test_a_class_without_folder_or_images_is_named(tmp_path: Path) -> None:
    write_imagenet_train(tmp_path, WNIDS, per_class=3)
    with pytest.raises(DataError, match="n09999999"):
        imagenet.read(tmp_path, (*WNIDS, "n09999999"), val_per_class=1)
    (tmp_path / "train" / "n09999999").mkdir()
    with pytest.raises(DataError, match=r"n09999999 "):
        imagenet.read(tmp_path, (*WNIDS, "n09999999"), val_per_class=1)


def test_a_class_too_small_for_a_holdout_is_an_error(tmp_path: Path) -> None:
    write_imagenet_train(tmp_path, WNIDS, per_class=2)
    write_imagenet_val(tmp_path, VAL_LABELS, WNIDS, flat=False)
    with pytest.raises(DataError, match=r"class 0 .*2 images"):
        imagenet.read(tmp_path, WNIDS, val_per_class=2)


def test_tiny_imagenet_follows_its_annotations(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path, WNIDS, per_class=4, labels=VAL_LABELS)
    splits = tiny_imagenet.read(tmp_path, val_per_class=1)
    check(splits, {"train": 9, "val": 3, "test": 6})
    assert splits["test"].labels.tolist() == VAL_LABELS
    path = tmp_path / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "val_7.JPEG\tn09999999\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt, line 7"):
        tiny_imagenet.read(tmp_path, val_per_class=1)
