"""Tiny-ImageNet (Stanford CS231n, 2015): 200 classes of ImageNet at 64x64 pixels, used in the official LGViT scripts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.class_folders import read_class_folders
from datasets.images import ImageFiles, encoded
from datasets.splits import SPLIT_SEED, hold_out

COUNT = 200
VAL_PER_CLASS = 50
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
IMAGES = "images"

TINY_IMAGENET = DatasetCard(
    name="tiny-imagenet",
    target="datasets.tiny_imagenet:read",
    summary="90,000 / 10,000 / 10,000 colour 64x64 photographs, 200 classes; test is the official validation set",
    # The WordNet ids are in the data's wnids.txt; the class index is the position in their sorted list.
    classes=tuple(f"wnid {i}" for i in range(COUNT)),
    image_size=64,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 90_000, "val": 10_000, "test": 10_000},
    val_rule=f"{VAL_PER_CLASS} a class of the official train set, stratified, seed {SPLIT_SEED}",
    # The images are from ImageNet. It is not documented which splits contain train images of ImageNet, so all splits
    # count as seen by weights that were trained on ImageNet.
    seen_by=dict.fromkeys(("train", "val", "test"), ("ImageNet",)),
    fingerprint=hashlib.sha256(f"tiny-imagenet-200 {VAL_PER_CLASS} {SPLIT_SEED}".encode()).hexdigest(),
    licence="ImageNet's terms of access: non-commercial research and education",
    redistributable=False,
    citation="Le and Yang (2015): Tiny ImageNet visual recognition challenge, Stanford CS231n",
    how_to_get=f"python -m benchmark data fetch tiny-imagenet --data-dir DIR, or unpack {URL} there",
    folders=("", "tiny-imagenet-200", "tiny-imagenet"),
    markers=("wnids.txt",),
    archives=(Archive(url=URL, name="tiny-imagenet-200.zip", md5=None),),
)


def read(folder: Path, val_per_class: int = VAL_PER_CLASS) -> dict[str, ImageSplit]:
    """The splits from ``train/<wnid>/images/*.JPEG``, ``val/images/*.JPEG`` and ``val/val_annotations.txt``.

    Val is a stratified, seeded sample of 50 images per class of the official train set. Test is the official validation
    set, because the official test set has no labels.

    Raises:
        DataError: a file cannot be read, or a line of the annotations is invalid.
    """
    path = folder / "wnids.txt"
    try:
        wnids = sorted(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}); {TINY_IMAGENET.how_to_get}") from error
    train, val = hold_out(read_class_folders(folder / "train", wnids, inside=IMAGES), val_per_class, SPLIT_SEED)
    return {"train": train, "val": val, "test": _annotated(folder / "val", wnids)}


def _annotated(folder: Path, wnids: list[str]) -> ImageSplit:
    """The images in ``val_annotations.txt``; the sample id is the line index, from 0.

    A line holds the file name, the WordNet id and a bounding box, which is ignored.
    """
    path = folder / "val_annotations.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}); {TINY_IMAGENET.how_to_get}") from error
    index = {wnid: i for i, wnid in enumerate(wnids)}
    names, labels = [], []
    for number, line in enumerate(lines, start=1):
        parts = line.split("\t")
        if len(parts) < 2 or parts[1] not in index or "/" in parts[0]:
            raise DataError(f"{path}, line {number}: {line!r} does not begin with a file name and a class of wnids.txt")
        names.append(parts[0])
        labels.append(index[parts[1]])
    files = ImageFiles(folder / IMAGES, encoded(names))
    return ImageSplit(files, np.array(labels, dtype=np.int64), np.arange(len(names)))
