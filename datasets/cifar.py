"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, "Learning Multiple Layers of Features from Tiny Images"), in their Python form.

The official files are pickles. Each file is compared with its published MD5 and then read by an unpickler that builds only
arrays, so a replaced file cannot run code. torchvision's reader is not used because it calls pickle.load.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.classes import class_lines
from datasets.splits import SPLIT_SEED, hold_out

SIDE = 32
VAL_PER_CLASS = {"cifar-10": 500, "cifar-100": 50}
# MD5 as torchvision 0.29 lists them; train files in stored order, then the test file.
CIFAR_10_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR_100_FILES = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
CITATION = (
    "Krizhevsky (2009): Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto"
)
LICENCE = "not stated by the publisher; free to download for research"
HOME = "https://www.cs.toronto.edu/~kriz/"

CIFAR_10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_100_CLASSES = tuple(class_lines("cifar_100"))


def _card(
    name: str, classes: tuple[str, ...], files: dict[str, str], folder: str, archive_md5: str, summary: str
) -> DatasetCard:
    per_class = VAL_PER_CLASS[name]
    val = per_class * len(classes)
    return DatasetCard(
        name=name,
        target=f"datasets.cifar:read_{name.replace('-', '_')}",
        summary=summary,
        classes=classes,
        image_size=SIDE,
        recipe_size=224,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        sizes={"train": 50_000 - val, "val": val, "test": 10_000},
        val_rule=f"{per_class} a class of the official train set, stratified, seed {SPLIT_SEED}",
        fingerprint=hashlib.sha256(f"{sorted(files.items())} {per_class} {SPLIT_SEED}".encode()).hexdigest(),
        licence=LICENCE,
        redistributable=False,
        citation=CITATION,
        how_to_get=f"python -m benchmark data fetch {name} --data-dir DIR, or unpack {HOME}{name}-python.tar.gz there",
        folders=("", folder, f"{name}/{folder}", name),
        markers=tuple(files),
        archives=(Archive(url=f"{HOME}{name}-python.tar.gz", name=f"{name}-python.tar.gz", md5=archive_md5),),
    )


CIFAR_10 = _card(
    "cifar-10",
    CIFAR_10_CLASSES,
    CIFAR_10_FILES,
    "cifar-10-batches-py",
    "c58f30108f718f92721af3b95e74349a",
    "45,000 / 5,000 / 10,000 colour 32x32 photographs, 10 classes",
)
CIFAR_100 = _card(
    "cifar-100",
    CIFAR_100_CLASSES,
    CIFAR_100_FILES,
    "cifar-100-python",
    "eb9058c3a382ffc7106e4002c42a8d85",
    "45,000 / 5,000 / 10,000 colour 32x32 photographs, 100 classes; used in the paper",
)


def read_cifar_10(folder: Path) -> dict[str, ImageSplit]:
    """The six official files; val is 500 images per class of the train files, stratified and seeded."""
    return _read(folder, CIFAR_10_FILES, b"labels", len(CIFAR_10_CLASSES), VAL_PER_CLASS["cifar-10"])


def read_cifar_100(folder: Path) -> dict[str, ImageSplit]:
    """The two official files with the 100 fine labels; val is 50 images per class of the train file, stratified and seeded."""
    return _read(folder, CIFAR_100_FILES, b"fine_labels", len(CIFAR_100_CLASSES), VAL_PER_CLASS["cifar-100"])


def _read(folder: Path, files: dict[str, str], key: bytes, classes: int, per_class: int) -> dict[str, ImageSplit]:
    *train_files, test_file = [_read_file(folder / name, md5, key, classes) for name, md5 in files.items()]
    images, labels = (np.concatenate(parts) for parts in zip(*train_files, strict=True))
    train, val = hold_out(ImageSplit(images, labels, np.arange(len(labels))), per_class, SPLIT_SEED)
    return {"train": train, "val": val, "test": ImageSplit(*test_file, np.arange(len(test_file[1])))}


def _read_file(path: Path, md5: str, key: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N]."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path} is not the official file: its MD5 is not {md5[:12]}...; it is truncated or replaced")
    return unpack(raw, key, classes, path)


def unpack(raw: bytes, key: bytes, classes: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one pickled file.

    Args:
        raw: a pickled dictionary with ``data`` uint8 [N, 3072], red, green and blue planes row by row, and ``key``.
        key: key of the labels, N integers.
        classes: number of classes.
        path: path of the file, for messages.

    Returns:
        images uint8 [N, 32, 32, 3] and labels int64 [N].

    Raises:
        DataError: the pickle refers to other types than arrays, or has other content.
    """
    try:
        content: Any = ArrayUnpickler(io.BytesIO(raw), encoding="bytes").load()
        pixels, labels = content[b"data"], np.asarray(content[key], dtype=np.int64)
        if pixels.dtype != np.uint8:
            raise ValueError(f"pixels of type {pixels.dtype}")
        images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        if labels.shape != (len(images),) or not ((labels >= 0) & (labels < classes)).all():
            raise ValueError("the labels are not one class index per image")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle may raise any exception
        raise DataError(f"{path} does not hold CIFAR's images and labels ({type(error).__name__}: {error})") from error
    return np.ascontiguousarray(images), labels


class ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays, dictionaries, lists, numbers and text, and refuses every other type."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),  # numpy before 2
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),  # bytes in pickles of protocol 2
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise DataError(f"the pickle refers to {module}.{name}, which no data file needs; it was not read further")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
