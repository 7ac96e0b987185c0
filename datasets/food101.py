"""Food-101 (Bossard, Guillaumin and Van Gool, ECCV 2014): 101 dishes with 750 train and 250 test photographs each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.classes import class_lines
from datasets.images import ImageFiles, encoded
from datasets.splits import SPLIT_SEED, hold_out

VAL_PER_CLASS = 75
URL = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"
MD5 = "85eeb15f3717b99a5da872d97d918f87"  # from torchvision 0.29

CLASSES = tuple(class_lines("food_101"))

FOOD_101 = DatasetCard(
    name="food-101",
    target="datasets.food101:read",
    summary="68,175 / 7,575 / 25,250 photographs of dishes, 101 classes; used in the paper",
    classes=CLASSES,
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 68_175, "val": 7_575, "test": 25_250},
    val_rule=f"{VAL_PER_CLASS} a class of the official train set, stratified, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"food-101 {MD5} {VAL_PER_CLASS} {SPLIT_SEED}".encode()).hexdigest(),
    licence="the photographers own the images (Foodspotting); for research only",
    redistributable=False,
    citation="Bossard, Guillaumin and Van Gool (2014): Food-101, mining discriminative components with random forests, ECCV",
    how_to_get=f"python -m benchmark data fetch food-101 --data-dir DIR, or unpack {URL} there",
    folders=("", "food-101"),
    markers=("meta/train.txt",),
    archives=(Archive(url=URL, name="food-101.tar.gz", md5=MD5),),
)


def read(folder: Path, classes: tuple[str, ...] = CLASSES, val_per_class: int = VAL_PER_CLASS) -> dict[str, ImageSplit]:
    """The splits from the official folder: ``images/<class>/<number>.jpg``, ``meta/train.txt`` and ``meta/test.txt``.

    Raises:
        DataError: one of the two lists cannot be read or has an invalid line.
    """
    train, val = hold_out(_read_list(folder, "train", classes), val_per_class, SPLIT_SEED)
    return {"train": train, "val": val, "test": _read_list(folder, "test", classes)}


def _read_list(folder: Path, part: str, classes: tuple[str, ...]) -> ImageSplit:
    """The images of one official list, train or test; the sample id is the line index, from 0."""
    path = folder / "meta" / f"{part}.txt"
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}); {FOOD_101.how_to_get}") from error
    index = {name: i for i, name in enumerate(classes)}
    labels = []
    for number, line in enumerate(lines, start=1):
        name, _, image = line.partition("/")
        if name not in index or not image.isalnum():
            raise DataError(f"{path}, line {number}: {line!r} is not of the form class/number with a class of Food-101")
        labels.append(index[name])
    files = ImageFiles(folder / "images", encoded([f"{line}.jpg" for line in lines]))
    return ImageSplit(files, np.array(labels, dtype=np.int64), np.arange(len(lines)))
