"""Images and masks in two folders, each mask with the name of its image, as in most sets of segmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.errors import DataError
from datasets.images import ImageFiles, encoded, image_names
from datasets.masks import MaskFiles

SAFE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def read_pairs(
    images: Path, masks: Path, names: Sequence[str], tables: np.ndarray, table: np.ndarray | None = None
) -> tuple[ImageFiles, MaskFiles]:
    """The files ``images/NAME.jpg`` and ``masks/NAME.png``.

    Args:
        images: folder of the images.
        masks: folder of the masks.
        names: without ending.
        tables: as in `MaskFiles`, int16 [T, 256].
        table: as in `MaskFiles`, int64 [N]; by default the first row holds for all.

    Raises:
        DataError: a folder, an image or a mask is missing; the message names it.
    """
    for folder, ending, content in ((images, ".jpg", "image"), (masks, ".png", "mask")):
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}, which should contain the {content}s")
        missing = sorted({f"{name}{ending}" for name in names} - set(image_names(folder)))
        if missing:
            others = f", and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise DataError(f"there is no {content} {folder / missing[0]}{others}; every image needs its mask")
    table = np.zeros(len(names), np.int64) if table is None else table
    mask_files = ImageFiles(masks, encoded([f"{name}.png" for name in names]))
    return ImageFiles(images, encoded([f"{name}.jpg" for name in names])), MaskFiles(mask_files, tables, table)


def read_list(path: Path, columns: int, how_to_get: str) -> list[list[str]]:
    """The lines of an official list, each split into its columns; the first is the name of an image.

    Raises:
        DataError: the file cannot be read, or a line has another form; the message names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}); {how_to_get}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        row = line.split()
        if len(row) != columns or not SAFE_NAME.fullmatch(row[0]):
            raise DataError(
                f"{path}, line {number}: {line!r:.80} is not the name of an image with {columns - 1} numbers"
            )
        rows.append(row)
    return rows
