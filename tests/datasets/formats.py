"""Small datasets in the official formats, for the tests of their readers."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from scipy.io import savemat

RNG_SEED = 5


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes byte strings as Python 2 did; `python2_pickle` adds numpy's old module name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(content: Any) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def write_cifar(path: Path, key: bytes, labels: list[int], seed: int = RNG_SEED) -> tuple[np.ndarray, str]:
    """One official file with these labels; returns its images uint8 [N, 32, 32, 3] and its MD5."""
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    content = {
        b"batch_label": b"a batch",
        key: labels,
        b"data": np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(labels), -1)),
        b"filenames": [f"image_{i}.png".encode() for i in range(len(labels))],
    }
    raw = python2_pickle(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return images, hashlib.md5(raw).hexdigest()


def write_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 16)) -> None:
    """Write an image of one colour, by which the decoded file can be recognised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)


def write_food101(folder: Path, classes: tuple[str, ...], train: int, test: int) -> None:
    """Write Food-101's folders: images by class, and the lists of the two official sets in another order."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        for i in range(train + test):
            number = str(1_000_000 + 1_000 * label + i)
            write_image(folder / "images" / name / f"{number}.jpg", (40 * label, 0, 10 * i))
            lists["train" if i < train else "test"].append(f"{name}/{number}")
    (folder / "meta").mkdir()
    for part, lines in lists.items():
        (folder / "meta" / f"{part}.txt").write_text("\n".join(reversed(lines)) + "\n")


def write_imagenet_train(folder: Path, wnids: tuple[str, ...], per_class: int) -> None:
    for label, wnid in enumerate(wnids):
        for i in range(per_class):
            write_image(folder / "train" / wnid / f"{wnid}_{7 * i}.JPEG", (40 * label, 0, 5 * i))


def write_imagenet_val(folder: Path, labels: list[int], wnids: tuple[str, ...], *, flat: bool) -> None:
    for number, label in enumerate(labels, start=1):
        parent = folder / "val" if flat else folder / "val" / wnids[label]
        write_image(parent / f"ILSVRC2012_val_{number:08d}.JPEG", (40 * label, 200, 0))


def write_devkit(folder: Path, labels: list[int], wnids: tuple[str, ...]) -> None:
    """Write the two files that are read. The class ids are not in the order of the wnids, and one synset is no class."""
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    ids = {label: len(wnids) - label for label in range(len(wnids))}
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{ids[label]}\n" for label in labels))
    kind = np.dtype([
        ("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object), ("num_children", object),
        ("children", object), ("wordnet_height", object), ("num_train_images", object),
    ])  # fmt: skip
    rows = [(ids[i], wnid, f"thing {i}", "a thing", 0, 0, 0, 1300) for i, wnid in enumerate(wnids)]
    rows.append((len(wnids) + 1, "n00001740", "entity", "what is", 2, np.array([1, 2]), 3, 0))
    synsets = np.array(sorted(rows, key=lambda row: row[0]), dtype=kind)[:, None]
    savemat(data / "meta.mat", {"synsets": synsets})


def write_tiny_imagenet(folder: Path, wnids: tuple[str, ...], per_class: int, labels: list[int]) -> None:
    for label, wnid in enumerate(wnids):
        for i in range(per_class):
            write_image(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", (40 * label, 0, 0), (64, 64))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t62\n")
    lines = []
    for i, label in enumerate(labels):
        write_image(folder / "val" / "images" / f"val_{i}.JPEG", (40 * label, 200, 0), (64, 64))
        lines.append(f"val_{i}.JPEG\t{wnids[label]}\t0\t32\t44\t62")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (folder / "wnids.txt").write_text("\n".join(reversed(wnids)) + "\n")


def write_mask(path: Path, values: np.ndarray, *, palette: bool = False) -> None:
    """Write a mask uint8 [H, W], grey or with a palette of colours that differ from the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image = image.convert("P")  # grey to palette keeps the values
        image.putpalette([(37 * i + 11) % 256 for i in range(768)])
    image.save(path)


def write_pets(folder: Path, breeds: int, trainval: int, test: int, values: np.ndarray) -> None:
    """Write the Oxford-IIIT Pet set's folders, with the same trimap for every image."""
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for breed in range(breeds):
        for i in range(trainval + test):
            name = f"{'Aa'[breed % 2]}_breed_{breed}_{i}"
            write_image(folder / "images" / f"{name}.jpg", (5 * breed, 0, 10 * i), values.shape[::-1])
            write_mask(folder / "annotations" / "trimaps" / f"{name}.png", values)
            (folder / "annotations" / "trimaps" / f"._{name}.png").touch()  # as in the official archive
            lists["trainval" if i < trainval else "test"].append(f"{name} {breed + 1} 1 1")
    for part, lines in lists.items():
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")


def write_voc(folder: Path, train: int, val: int, values: np.ndarray) -> None:
    """Write Pascal VOC's folders for segmentation, with the same palette mask for every image, and photos without masks."""
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for part, count in (("train", train), ("val", val)):
        names = [f"2007_{part}_{i:06d}" for i in range(count)]
        for i, name in enumerate(names):
            write_image(folder / "JPEGImages" / f"{name}.jpg", (0, 0, 10 * i), values.shape[::-1])
            write_mask(folder / "SegmentationClass" / f"{name}.png", values, palette=True)
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
    write_image(folder / "JPEGImages" / "2008_000001.jpg", (0, 0, 0))


def write_ade20k(folder: Path, training: int, validation: int, values: np.ndarray) -> None:
    """Write ADE20K's folders for scene parsing, with the same mask for every image."""
    for part, count in (("training", training), ("validation", validation)):
        for i in range(count):
            name = f"ADE_{part[:5]}_{i + 1:08d}"
            write_image(folder / "images" / part / f"{name}.jpg", (0, 0, 10 * i), values.shape[::-1])
            write_mask(folder / "annotations" / part / f"{name}.png", values)


def write_voc_detection(folder: Path, lists: dict[str, list[str]], objects: dict[str, list[dict[str, str]]]) -> None:
    """VOC's lists, photos of 40 x 30 pixels, and annotations; an object has name, box ("1 1 40 30") and maybe difficult."""
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for part, names in lists.items():
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for number, name in enumerate(names):
            write_image(folder / "JPEGImages" / f"{name}.jpg", (9 * number, 90, 0), (40, 30))
            (folder / "Annotations" / f"{name}.xml").write_text(voc_annotation(objects.get(name, [])))


def voc_annotation(objects: list[dict[str, str]]) -> str:
    text = "<annotation><size><width>40</width><height>30</height><depth>3</depth></size>"
    for one in objects:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), one["box"].split(), strict=True)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
        text += f"<object><name>{one['name']}</name><difficult>{one.get('difficult', '0')}</difficult>"
        text += f"<bndbox>{box}</bndbox>{part}</object>"
    return text + "</annotation>"


def write_coco(
    folder: Path, part: str, ids: list[int], annotations: list[dict[str, Any]], changes: dict[str, Any] | None = None
) -> None:
    """COCO's photos of 40 x 30 pixels, and their annotations; ``changes`` replace parts of the file."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for image in ids:
        write_image(folder / part / f"{image:012d}.jpg", (image % 250, 0, 90), (40, 30))
    content = {
        "info": {},
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 40, "height": 30} for i in ids],
        "categories": [{"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}, {"id": 90, "name": "toothbrush"}],
        "annotations": [{"id": i, "iscrowd": 0, "area": 1.0, **one} for i, one in enumerate(annotations)],
    }
    (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content | (changes or {})))
