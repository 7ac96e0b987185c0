"""Pascal VOC 2012, segmentation (Everingham et al., IJCV 2015). Masks are palette images; the border of objects is ignored.

The labels of the official test set are not public: test is the official val set, and val is a part of the official train set.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from datasets.api import IGNORED, IMAGENET_MEAN, IMAGENET_STD, Archive, DatasetCard, ImageSplit
from datasets.mask_folders import read_list, read_pairs
from datasets.masks import value_table
from datasets.splits import SPLIT_SEED, hold_out

VAL = 300
URL = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
MD5 = "6cd6e144f989b92b3379bac3b3de84fd"  # from torchvision 0.29

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

VOC_SEGMENTATION = DatasetCard(
    name="voc-segmentation",
    target="datasets.voc:read",
    summary="1,164 / 300 / 1,449 photos with masks of Pascal VOC 2012, 20 classes and background; test is the official val set",
    task="segmentation",
    classes=CLASSES,
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 1_164, "val": 300, "test": 1_449},
    val_rule=f"{VAL} of the official train set, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"voc-segmentation {MD5} {VAL} {SPLIT_SEED}".encode()).hexdigest(),
    licence="the photographers own the images (Flickr's terms of use); for research",
    redistributable=False,
    citation="Everingham, Eslami, Van Gool, Williams, Winn and Zisserman (2015): The PASCAL visual object classes challenge: "
    "a retrospective, IJCV",
    how_to_get=f"python -m benchmark data fetch voc-segmentation --data-dir DIR, or unpack {URL} there",
    folders=("VOCdevkit/VOC2012", "VOC2012", ""),
    markers=("ImageSets/Segmentation/train.txt",),
    archives=(Archive(url=URL, name="VOCtrainval_11-May-2012.tar", md5=MD5),),
)


def read(folder: Path, val: int = VAL) -> dict[str, ImageSplit]:
    """The splits from ``JPEGImages/``, ``SegmentationClass/`` and the lists in ``ImageSets/Segmentation/``; labels are 0.

    Raises:
        DataError: a folder, list, image or mask is missing or invalid; the message names it.
    """
    train, held_out = hold_out(_read_part(folder, "train"), val, SPLIT_SEED)
    return {"train": train, "val": held_out, "test": _read_part(folder, "val")}


def _read_part(folder: Path, part: str) -> ImageSplit:
    """The images of one official list; the sample id is the line index, from 0."""
    rows = read_list(folder / "ImageSets" / "Segmentation" / f"{part}.txt", 1, VOC_SEGMENTATION.how_to_get)
    table = value_table({IGNORED: IGNORED, **{value: value for value in range(len(CLASSES))}})
    names = [name for (name,) in rows]
    images, masks = read_pairs(folder / "JPEGImages", folder / "SegmentationClass", names, table[None])
    return ImageSplit(images, np.zeros(len(names), np.int64), np.arange(len(names)), masks)
