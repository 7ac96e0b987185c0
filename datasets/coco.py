"""COCO 2017, detection (Lin et al., ECCV 2014), in its official layout.

The labels of the official test set are not public: test is the official val set, and val is a part of the official train set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, Archive, DatasetCard, ImageSplit
from datasets.boxes import Boxes, mistake
from datasets.classes import class_lines
from datasets.errors import DataError
from datasets.images import ImageFiles, encoded, image_names
from datasets.splits import SPLIT_SEED, hold_out

VAL = 5_000
SITE = "http://images.cocodataset.org"
ARCHIVES = ("zips/train2017.zip", "zips/val2017.zip", "annotations/annotations_trainval2017.zip")

CATEGORIES = {int(number): name for number, _, name in (line.partition(" ") for line in class_lines("coco"))}
"""Names by the official ids, which have gaps; the class index is the position in this order."""

COCO_DETECTION = DatasetCard(
    name="coco-detection",
    target="datasets.coco:read",
    summary="113,287 / 5,000 / 5,000 photos with boxes of COCO 2017, 80 classes; test is the official val set",
    task="detection",
    classes=tuple(CATEGORIES.values()),
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 113_287, "val": VAL, "test": 5_000},
    val_rule=f"{VAL:,} of the official train set, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"coco-detection 2017 {VAL} {SPLIT_SEED}".encode()).hexdigest(),
    licence="the photographers own the images (Flickr's terms of use); annotations CC BY 4.0",
    redistributable=False,
    citation="Lin et al. (2014): Microsoft COCO: common objects in context, ECCV",
    how_to_get="python -m benchmark data fetch coco-detection --data-dir DIR, or unpack "
    f"{', '.join(f'{SITE}/{name}' for name in ARCHIVES)} in DIR/coco",
    folders=("coco", ""),
    markers=("annotations/instances_train2017.json",),
    archives=tuple(Archive(url=f"{SITE}/{name}", name=Path(name).name, md5=None, folder="coco") for name in ARCHIVES),
)


def read(folder: Path, val: int = VAL) -> dict[str, ImageSplit]:
    """The splits from ``train2017/``, ``val2017/`` and ``annotations/instances_*.json``; labels are 0.

    Raises:
        DataError: a folder, file or image is missing, or an annotation is invalid; the message names it.
    """
    train, held_out = hold_out(read_part(folder, "train2017"), val, SPLIT_SEED)
    return {"train": train, "val": held_out, "test": read_part(folder, "val2017")}


def read_part(folder: Path, part: str) -> ImageSplit:
    """All images of one official set, also those without boxes; the sample id is COCO's image id.

    Boxes are clipped to their image. A box that is then empty is left out: COCO has a few without width or height. Crowds are
    ignored.

    Raises:
        DataError: as in `read`.
    """
    path = folder / "annotations" / f"instances_{part}.json"
    content = _read_json(path)
    try:
        images = sorted(
            (int(i["id"]), str(i["file_name"]), int(i["width"]), int(i["height"])) for i in content["images"]
        )
        _check_categories(path, {int(category["id"]): str(category["name"]) for category in content["categories"]})
        annotations, ids = list(content["annotations"]), np.array([image for image, *_ in images], np.int64)
        sizes = np.array([size for _, _, *size in images], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path} has not the form of COCO's instances ({error!r:.80}); {COCO_DETECTION.how_to_get}"
        ) from error
    position = {image: i for i, (image, *_) in enumerate(images)}
    if len(position) < len(images):
        raise DataError(f"{path}: two images have the same id")
    _check_sizes(path, images)
    of_images: list[list[tuple[tuple[float, float, float, float], int, bool]]] = [[] for _ in images]
    classes = {category: index for index, category in enumerate(CATEGORIES)}
    for place, annotation in enumerate(annotations, start=1):
        name = _name(place, annotation)
        try:
            image, category = int(annotation["image_id"]), int(annotation["category_id"])
            left, top, width, height = map(float, annotation["bbox"])
            if (crowd := annotation.get("iscrowd", 0)) not in (0, 1):
                raise ValueError(f"iscrowd is {crowd!r}")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}: {name} has not the form of COCO's ({error!r:.80}); image_id, category_id and a bbox of four numbers "
                "are needed, and iscrowd is 0 or 1"
            ) from error
        if image not in position:
            raise DataError(f"{path}: {name} belongs to image {image}, which is not in the list of images")
        if category not in classes:
            raise DataError(f"{path}: {name} has the category {category}, which is none of COCO's 80")
        if not (width >= 0 and height >= 0 and isfinite(left + top + width + height)):
            shown = ", ".join(f"{value:g}" for value in (left, top, width, height))
            raise DataError(f"{path}: {name} has the box {shown}; left, top, width >= 0 and height >= 0 are needed")
        size = images[position[image]][2:]
        clipped = (max(left, 0.0), max(top, 0.0), min(left + width, size[0]), min(top + height, size[1]))
        if mistake(np.array(clipped, np.float32).tolist(), size) is None:  # as stored, where sides may be equal
            of_images[position[image]].append((clipped, classes[category], crowd == 1))
    names = [name for _, name, _, _ in images]
    _check_files(folder / part, names)
    files = ImageFiles(folder / part, encoded(names))
    boxes = Boxes.of_images(of_images, sizes)
    return ImageSplit(files, np.zeros(len(ids), np.int64), ids, boxes=boxes)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} ({error!s:.200}); {COCO_DETECTION.how_to_get}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} has not the form of COCO's instances; {COCO_DETECTION.how_to_get}")
    return content


def _name(place: int, annotation: Any) -> str:
    """An annotation by its id, or where it has none, by its place in the list, from 1."""
    if isinstance(annotation, dict) and "id" in annotation:
        return f"annotation {annotation['id']!s:.40}"
    return f"number {place} of the annotations"


def _check_sizes(path: Path, images: Sequence[tuple[int, str, int, int]]) -> None:
    for image, _, width, height in images:
        if width < 1 or height < 1:
            raise DataError(f"{path}: image {image} has {width} x {height} pixels; at least 1 x 1 are needed")


def _check_categories(path: Path, found: dict[int, str]) -> None:
    unknown = {number: name for number, name in found.items() if CATEGORIES.get(number) != name}
    if unknown:
        number, name = next(iter(unknown.items()))
        raise DataError(f"{path}: category {number} is {name!r:.80}, and COCO's is {CATEGORIES.get(number, 'none')}")


def _check_files(folder: Path, names: list[str]) -> None:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}, which should contain the images; {COCO_DETECTION.how_to_get}")
    missing = sorted(set(names) - set(image_names(folder)))  # also refuses names that lead out of the folder
    if missing:
        raise DataError(
            f"there is no image {folder / missing[0]!s:.200}; {len(missing):,} of {len(names):,} are missing"
        )
