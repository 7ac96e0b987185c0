"""ADE20K in its form for scene parsing, 150 classes (Zhou et al., CVPR 2017). The value 0 of a mask is "other" and is ignored.

The labels of the official test set are not public: test is the official validation set, and val is a part of official training.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from datasets.api import IGNORED, IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.classes import class_lines
from datasets.images import image_names
from datasets.mask_folders import read_pairs
from datasets.masks import value_table
from datasets.splits import SPLIT_SEED, hold_out

VAL = 1_000
URL = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"

CLASSES = tuple(class_lines("ade20k"))

ADE20K = DatasetCard(
    name="ade20k",
    target="datasets.ade20k:read",
    summary="19,210 / 1,000 / 2,000 photos of scenes with masks, 150 classes; test is the official validation set",
    task="segmentation",
    classes=CLASSES,
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 19_210, "val": VAL, "test": 2_000},
    val_rule=f"{VAL:,} of the official training set, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"ade20k SceneParsing 2016 {VAL} {SPLIT_SEED}".encode()).hexdigest(),
    licence="images for non-commercial research and education, annotations BSD-3",
    redistributable=False,
    citation="Zhou, Zhao, Puig, Fidler, Barriuso and Torralba (2017): Scene parsing through ADE20K dataset, CVPR",
    how_to_get=f"python -m benchmark data fetch ade20k --data-dir DIR, or unpack {URL} there",
    folders=("ADEChallengeData2016", ""),
    markers=("annotations/training/",),
    archives=(Archive(url=URL, name="ADEChallengeData2016.zip", md5=None),),
)


def read(folder: Path, val: int = VAL) -> dict[str, ImageSplit]:
    """The splits from ``images/`` and ``annotations/``, each with ``training/`` and ``validation/``; labels are 0.

    Raises:
        DataError: a folder, image or mask is missing; the message names it.
    """
    train, held_out = hold_out(_read_part(folder, "training"), val, SPLIT_SEED)
    return {"train": train, "val": held_out, "test": _read_part(folder, "validation")}


def _read_part(folder: Path, part: str) -> ImageSplit:
    """The images of one folder in the order of their names; the sample id is the position."""
    images, masks = folder / "images" / part, folder / "annotations" / part
    if not images.is_dir():
        raise DataError(f"there is no folder {images}, which should contain the images; {ADE20K.how_to_get}")
    names = [Path(name).stem for name in image_names(images)]
    table = value_table({0: IGNORED, **{value: value - 1 for value in range(1, len(CLASSES) + 1)}})
    files = read_pairs(images, masks, names, table[None])
    return ImageSplit(files[0], np.zeros(len(names), np.int64), np.arange(len(names)), files[1])
