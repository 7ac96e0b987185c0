"""ImageNet-1k (ILSVRC 2012; Russakovsky et al., IJCV 2015): test is the official validation set."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.class_folders import read_class_folders, subfolders
from datasets.classes import class_lines
from datasets.images import ImageFiles, encoded, image_names
from datasets.splits import SPLIT_SEED, hold_out

VAL_PER_CLASS = 50
# WordNet ids of the 1,000 classes in the usual, sorted order, each with its first WordNet name; as timm 1.0 lists them.
WNIDS, CLASSES = zip(*(line.split(" ", 1) for line in class_lines("imagenet_1k")), strict=True)
DEVKIT = "ILSVRC2012_devkit_t12/data"
KAGGLE = "LOC_val_solution.csv"

IMAGENET_1K = DatasetCard(
    name="imagenet-1k",
    target="datasets.imagenet:read",
    summary="1,231,167 / 50,000 / 50,000 photographs, 1,000 classes; used in the paper; test is the official validation set",
    classes=CLASSES,
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 1_231_167, "val": 50_000, "test": 50_000},
    val_rule=f"{VAL_PER_CLASS} a class of the official train set, stratified, seed {SPLIT_SEED}",
    seen_by={"train": ("ImageNet",), "val": ("ImageNet",)},
    fingerprint=hashlib.sha256(f"imagenet-1k ILSVRC2012 {VAL_PER_CLASS} {SPLIT_SEED}".encode()).hexdigest(),
    licence="ImageNet's terms of access: non-commercial research and education",
    redistributable=False,
    citation="Russakovsky et al. (2015): ImageNet Large Scale Visual Recognition Challenge, IJCV 115, arXiv 1409.0575",
    how_to_get=(
        "ImageNet needs an account: get it at https://image-net.org/download and unpack it to train/<wnid>/*.JPEG and val/ (in "
        f"class folders, or without folders together with {DEVKIT} or Kaggle's {KAGGLE})"
    ),
    folders=("", "imagenet-1k", "imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"),
    markers=("train/n01440764/",),
    archives=(
        Archive(url=None, name="ILSVRC2012_img_train.tar", md5="1d675b47d978889d74fa0da5fadfb00e"),
        Archive(url=None, name="ILSVRC2012_img_val.tar", md5="29b22e2961454d5413ddabcf34fc5622"),
        Archive(url=None, name="ILSVRC2012_devkit_t12.tar.gz", md5="fa75699e90414af021442c21a62c3abf"),
    ),
)


def read(folder: Path, wnids: Sequence[str] = WNIDS, val_per_class: int = VAL_PER_CLASS) -> dict[str, ImageSplit]:
    """The splits from ``train/<wnid>/*.JPEG`` and ``val/``, in class folders or flat with the devkit's or Kaggle's labels.

    Val is 50 images per class of train, stratified and seeded. Test is the official validation set, because its 50,000 images
    are the only labelled public images that pretrained weights have not seen; the sample id is the official number.

    Raises:
        DataError: a folder or file is missing or invalid; the message names it.
    """
    train, val = hold_out(read_class_folders(folder / "train", wnids), val_per_class, SPLIT_SEED)
    return {"train": train, "val": val, "test": _official_validation(folder, wnids)}


def _official_validation(folder: Path, wnids: Sequence[str]) -> ImageSplit:
    val = folder / "val"
    if not val.is_dir():
        raise DataError(f"there is no folder {val}, which should contain the official validation images")
    if subfolders(val):
        split = read_class_folders(val, wnids)
        assert isinstance(split.images, ImageFiles)
        numbers = np.array([_number(bytes(name).decode(), val) for name in split.images.names])
        return ImageSplit(split.images, split.labels, numbers).select(np.argsort(numbers))
    names = image_names(val)
    wnid_of = _kaggle_labels(folder) or _devkit_labels(folder)
    index = {wnid: i for i, wnid in enumerate(wnids)}
    numbers = np.array([_number(name, val) for name in names], dtype=np.int64)
    try:
        labels = np.array([index[wnid_of[number]] for number in numbers.tolist()], dtype=np.int64)
    except KeyError as error:
        raise DataError(f"{val}: no label of ImageNet-1k for image or class {error}") from error
    return ImageSplit(ImageFiles(val, encoded(names)), labels, numbers).select(np.argsort(numbers))


def _number(name: str, folder: Path) -> int:
    """The official number of a validation image."""
    match = re.search(r"ILSVRC2012_val_(\d+)\.", name)
    if match is None:
        raise DataError(
            f"{folder / name} is not named like an official validation image (ILSVRC2012_val_00000001.JPEG)"
        )
    return int(match[1])


def _kaggle_labels(folder: Path) -> dict[int, str] | None:
    """WordNet id by image number from Kaggle's table, in ``folder`` or up to three folders above; None without the table."""
    for place in (folder, *folder.parents[:3]):
        path = place / KAGGLE
        if path.is_file():
            try:
                with path.open(encoding="utf-8-sig", newline="") as file:  # tolerates a byte order mark
                    rows = list(csv.DictReader(file))
                return {
                    _number(f"{row['ImageId']}.JPEG", path): row["PredictionString"].split(" ", 1)[0] for row in rows
                }
            except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path} is not Kaggle's table in UTF-8 with the columns ImageId,PredictionString ({error!r})"
                ) from error
    return None


def _devkit_labels(folder: Path) -> dict[int, str]:
    """WordNet id by image number from the development kit, whose ground truth has the class id of image n in line n."""
    # Imported here: scipy.io is slow to import, and only flat copies of ImageNet need it.
    from scipy.io import loadmat

    kit = folder / DEVKIT
    truth, meta = kit / "ILSVRC2012_validation_ground_truth.txt", kit / "meta.mat"
    try:
        ids = [int(line) for line in truth.read_text(encoding="utf-8").split()]
        synsets = np.atleast_1d(loadmat(meta, squeeze_me=True)["synsets"])
        wnid_of = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        return {number: wnid_of[class_id] for number, class_id in enumerate(ids, start=1)}
    except OSError as error:
        raise DataError(
            f"{folder / 'val'} is flat, so its labels are needed: neither {KAGGLE} nor {kit} can be read ({error})"
        ) from error
    except Exception as error:  # scipy raises many kinds of errors for a file that is damaged or of MATLAB 7.3
        raise DataError(f"{truth} and {meta} do not hold the official labels ({error!r})") from error
