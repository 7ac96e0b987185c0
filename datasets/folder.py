"""The user's own images, named ``folder:PATH`` in a grid: one folder per class, directly or inside train/, val/ and test/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from datasets.api import IMAGENET_MEAN, IMAGENET_STD, SPLITS, DataError, DatasetCard, ImageSplit
from datasets.class_folders import read_class_folders, subfolders
from datasets.images import ImageFiles, image_names
from datasets.splits import SPLIT_SEED, stratified_shares

PREFIX = "folder:"
SUMMARY = "your own images: one folder per class, directly or inside train/ and test/ (and val/)"
CODE_VERSION = 1
SHARES = {"val": 0.2, "test": 0.2}
VAL_OF_TRAIN = {"val": 0.1}
MAX_REASON = 200
"""Characters of a path or reason that a message shows."""
VAL_NAMES = ("val", "valid", "validation")


@dataclass(frozen=True, kw_only=True)
class FolderCard(DatasetCard):
    """The card of a folder, derived from its content.

    Attributes:
        root: path of the folder.
    """

    root: Path

    def find(self, data_dir: Path | None) -> Path:
        return self.root

    def read(self, data_dir: Path | None) -> dict[str, ImageSplit]:
        """The splits; their files are hashed again, because they may have changed since the card was made."""
        splits = _content(self.root).splits
        if _fingerprint(splits) != self.fingerprint:
            raise DataError(f"an image in {self.root} has changed since this command started; start the command again")
        return dict(splits)


@dataclass(frozen=True)
class _Content:
    classes: tuple[str, ...]
    splits: Mapping[str, ImageSplit]
    val_rule: str


def is_folder(name: str) -> bool:
    return name.startswith(PREFIX)


def absolute(name: str, base: Path) -> str:
    """The dataset's name with an absolute path; a relative path starts at the folder ``base``.

    Raises:
        DataError: see `absolute_path`.
    """
    return PREFIX + str(absolute_path(name.removeprefix(PREFIX), base))


def absolute_path(text: str, base: Path) -> Path:
    """The absolute path of a file or folder, which need not exist; a relative path starts at the folder ``base``.

    Raises:
        DataError: no file can have this path: a null byte, a user without a home folder, a loop of links, a name too long.
    """
    try:
        path = (base / Path(text).expanduser()).resolve()
        path.exists()  # raises an error for a name that is too long
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)[:MAX_REASON]
        raise DataError(f"{text[:MAX_REASON]!r} cannot be the path of a file or folder ({reason})") from None
    return path


@lru_cache(maxsize=8)
def folder_card(name: str) -> DatasetCard:
    """The card of a folder. Its fingerprint covers the content of every file, which is read at about a second per gigabyte.

    Args:
        name: ``folder:`` and an absolute path.

    Raises:
        DataError: the folder does not exist, or has too few classes or images; the message says what and where.
    """
    root = Path(name.removeprefix(PREFIX))
    content = _content(root)
    return FolderCard(
        name=f"{PREFIX}{root.name}",
        target="datasets.folder:folder_card",
        summary=SUMMARY,
        classes=content.classes,
        image_size=None,
        recipe_size=224,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        sizes={split: len(content.splits[split]) for split in SPLITS},
        val_rule=content.val_rule,
        fingerprint=_fingerprint(content.splits),
        licence="the user's own images",
        redistributable=False,
        citation="",
        has_official_splits=False,
        how_to_get=f"it is the folder {root}",
        markers=("",),
        code_version=CODE_VERSION,
        root=root,
    )


@lru_cache(maxsize=8)
def _content(root: Path) -> _Content:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; write {PREFIX}PATH, relative to the grid file or absolute")
    return _with_split_folders(root) if _has_split_folders(root) else _without_split_folders(root)


def _has_split_folders(root: Path) -> bool:
    """Whether train/ is a split. With images directly in it, and none in folders inside it, it is a class of that name."""
    train = root / "train"
    if not train.is_dir():
        return False
    return not image_names(train) or any(image_names(train / name) for name in subfolders(train))


def _without_split_folders(root: Path) -> _Content:
    classes = _classes(root)
    split = read_class_folders(root, classes)
    _check_counts(
        root,
        classes,
        split,
        3,
        "one each for train, val and test; add images, remove the class, or create train/ and test/",
    )
    train, held = stratified_shares(split, SHARES, SPLIT_SEED)
    rule = f"20 % of every class, at least one image; test likewise; stratified, seed {SPLIT_SEED}"
    return _Content(tuple(classes), {"train": train, **held}, rule)


def _with_split_folders(root: Path) -> _Content:
    classes = _classes(root / "train")
    train = _read_split(root, "train", classes)
    if not (root / "test").is_dir():
        raise DataError(
            f"{root} has train/ but no test/: add it, with the same class folders, or put the class folders directly there"
        )
    test = _read_split(root, "test", classes)
    for name in VAL_NAMES:
        if (root / name).is_dir():
            val = _read_split(root, name, classes)
            # Sample ids differ from those of train, so that both splits can be merged.
            val = ImageSplit(val.images, val.labels, val.sample_id + len(train))
            return _Content(tuple(classes), {"train": train, "val": val, "test": test}, f"the folder {name}/")
    _check_counts(root / "train", classes, train, 2, "as one is held out for val; add images, or a val/ folder")
    rest, held = stratified_shares(train, VAL_OF_TRAIN, SPLIT_SEED)
    rule = f"10 % of every class of train/, at least one image, stratified, seed {SPLIT_SEED}"
    return _Content(tuple(classes), {"train": rest, **held, "test": test}, rule)


def _classes(root: Path) -> list[str]:
    classes = subfolders(root)
    if len(classes) < 2:
        folders = f"only {classes[0]!r}" if classes else "none"
        raise DataError(f"{root} should hold a folder for each of at least two classes, and has {folders}")
    return classes


def _read_split(root: Path, name: str, classes: list[str]) -> ImageSplit:
    others = sorted(set(subfolders(root / name)) - set(classes))
    if others:
        raise DataError(f"{root / name} has the class folder {others[0]!r}, which {root / 'train'} does not have")
    return read_class_folders(root, [f"{name}/{class_name}" for class_name in classes])


def _check_counts(folder: Path, classes: list[str], split: ImageSplit, least: int, reason: str) -> None:
    """Check the number of images per class.

    Raises:
        DataError: a class has fewer than ``least`` images; the message continues with ``reason``.
    """
    for name, count in zip(classes, np.bincount(split.labels, minlength=len(classes)), strict=True):
        if count < least:
            images = "1 image" if count == 1 else f"{count} images"
            raise DataError(f"class {name!r} in {folder} has {images}: it needs at least {least}, {reason}")


def _fingerprint(splits: Mapping[str, ImageSplit]) -> str:
    """SHA-256 over the split, name, label and content of every image."""
    digest = hashlib.sha256()
    for name in SPLITS:
        split = splits[name]
        assert isinstance(split.images, ImageFiles)
        for i, label in enumerate(split.labels.tolist()):
            path = split.images.path(i)
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise DataError(f"cannot read {path} ({error.strerror})") from error
            digest.update(f"{name}\0{path.name}\0{label}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
