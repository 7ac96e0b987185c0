"""Pascal VOC 2012, detection (Everingham et al., IJCV 2015), in the layout of torchvision.

The labels of the official test set are not public: test is the official val set, and val is a part of the official train set.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path

import numpy as np

from datasets.api import ImageSplit
from datasets.boxes import Boxes, mistake
from datasets.errors import DataError
from datasets.images import ImageFiles, encoded, image_names
from datasets.mask_folders import read_list
from datasets.splits import SPLIT_SEED, hold_out
from datasets.voc import CLASSES as WITH_BACKGROUND
from datasets.voc import MD5, VOC_SEGMENTATION

VAL = 500
SLACK = 1.0  # pixels by which a corner may be outside the image; it is then moved to the border
CLASSES = WITH_BACKGROUND[1:]
MAX_BYTES = 10**6  # of an annotation file, which has a few kilobytes

VOC_DETECTION = replace(
    VOC_SEGMENTATION,
    name="voc-detection",
    target="datasets.voc_detection:read",
    summary="5,217 / 500 / 5,823 photos with boxes of Pascal VOC 2012, 20 classes; test is the official val set",
    task="detection",
    classes=CLASSES,
    sizes={"train": 5_217, "val": VAL, "test": 5_823},
    val_rule=f"{VAL} of the official train set, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"voc-detection {MD5} {VAL} {SPLIT_SEED}".encode()).hexdigest(),
    how_to_get=VOC_SEGMENTATION.how_to_get.replace("voc-segmentation", "voc-detection"),
    markers=("ImageSets/Main/train.txt",),
    code_version=1,
)


def read(folder: Path, val: int = VAL) -> dict[str, ImageSplit]:
    """The splits from ``JPEGImages/``, ``Annotations/`` and the lists in ``ImageSets/Main/``; labels are 0.

    Raises:
        DataError: a folder, list, image or annotation is missing or invalid; the message names it.
    """
    train, held_out = hold_out(_read_part(folder, "train"), val, SPLIT_SEED)
    return {"train": train, "val": held_out, "test": _read_part(folder, "val")}


def _read_part(folder: Path, part: str) -> ImageSplit:
    """The images of one official list; the sample id is the line index, from 0."""
    names = [name for (name,) in read_list(folder / "ImageSets" / "Main" / f"{part}.txt", 1, VOC_DETECTION.how_to_get)]
    images = folder / "JPEGImages"
    if not images.is_dir():
        raise DataError(f"there is no folder {images}, which should contain the images; {VOC_DETECTION.how_to_get}")
    missing = sorted({f"{name}.jpg" for name in names} - set(image_names(images)))
    if missing:
        raise DataError(f"there is no image {images / missing[0]}; {len(missing):,} of {len(names):,} are missing")
    annotations = [read_annotation(folder / "Annotations" / f"{name}.xml") for name in names]
    boxes = Boxes.of_images([objects for objects, _ in annotations], [size for _, size in annotations])
    files = ImageFiles(images, encoded([f"{name}.jpg" for name in names]))
    return ImageSplit(files, np.zeros(len(names), np.int64), np.arange(len(names)), boxes=boxes)


def read_annotation(
    path: Path,
) -> tuple[list[tuple[tuple[float, float, float, float], int, bool]], tuple[float, float]]:
    """The (corners, class index, ignored) of every object in an annotation file, and the stated width and height.

    Difficult objects are ignored.

    The file counts pixels from 1 and includes the last, so that left and top become smaller by 1. A corner that is up to one
    pixel outside the image, as some are, is moved to its border. Parts of a person (head, hands, feet) are not read.

    Raises:
        DataError: the file cannot be read, or an object has no known class or no valid box; the message names it.
    """
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES or b"<!" in content:  # entities could refer to other files, or grow without end
            raise DataError(f"{path} is no annotation of VOC: it is too large, or has declarations")
        root = ET.fromstring(content)
    except (OSError, ET.ParseError, ValueError, LookupError) as error:  # the last two: encodings that expat cannot read
        raise DataError(f"cannot read the annotation {path} ({error}); {VOC_DETECTION.how_to_get}") from error
    width, height = (_number(path, root, f"size/{side}") for side in ("width", "height"))
    objects = []
    for number, found in enumerate(root.findall("object"), start=1):
        name = (found.findtext("name") or "").strip()
        if name not in CLASSES:
            raise DataError(f"{path}, object {number}: {name!r:.80} is no class; classes are {', '.join(CLASSES)}")
        left, top, right, bottom = (
            _number(path, found, f"bndbox/{side}", number) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        corners = (
            _within(left - 1, width), _within(top - 1, height), _within(right, width), _within(bottom, height),
        )  # fmt: skip
        if problem := mistake(corners, (int(width), int(height))):
            raise DataError(f"{path}, object {number} ({name}) {problem}")
        objects.append((corners, CLASSES.index(name), (found.findtext("difficult") or "0").strip() == "1"))
    return objects, (width, height)


def _number(path: Path, parent: ET.Element, tag: str, number: int | None = None) -> float:
    text = parent.findtext(tag)
    try:
        value = float(text or "")
    except ValueError:
        value = nan
    if not isfinite(value):
        where = "" if number is None else f", object {number}"
        problem = "is missing" if text is None else f"is {text!r:.80}, which is no number"
        raise DataError(f"{path}{where}: {tag} {problem}")
    return value


def _within(value: float, limit: float) -> float:
    """A coordinate that is at most `SLACK` outside the image, at its border; any other as it is."""
    nearest = min(max(value, 0.0), limit)
    return nearest if abs(value - nearest) <= SLACK else value
