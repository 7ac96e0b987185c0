"""Masks: the class of every pixel, as arrays or as files that are decoded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.errors import DataError
from datasets.images import ImageFiles, ImageList, decode_indices, join

IGNORED = 255
"""The class index of pixels that count neither in the loss nor in the metrics."""
NO_CLASS = -1


@dataclass(frozen=True)
class MaskFiles:
    """Mask files in one folder tree, decoded on demand.

    Attributes:
        files: one per image.
        tables: int16 [T, 256], the class index of every stored value; `IGNORED`, or `NO_CLASS` for values that must not occur.
        table: int64 [N], the row of ``tables`` that holds for each file.
    """

    files: ImageFiles
    tables: np.ndarray
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: np.ndarray) -> MaskFiles:
        return MaskFiles(self.files[index], self.tables, self.table[index])

    def path(self, position: int) -> Path:
        return self.files.path(position)

    def decode(self) -> list[np.ndarray]:
        """The masks, each uint8 [H, W].

        Raises:
            DataError: a file cannot be decoded, is a colour image, or has a value that is no class; the message names it.
        """
        return [decode_mask(self.path(i), self.tables[row]) for i, row in enumerate(self.table)]


def decode_mask(path: Path, table: np.ndarray) -> np.ndarray:
    """A mask file as class indices, uint8 [H, W].

    Args:
        path: a grey or palette image of 8 bits.
        table: int16 [256], the class index of every stored value, as a row of `MaskFiles.tables`.

    Raises:
        DataError: as in `MaskFiles.decode`.
    """
    stored = decode_indices(path)
    mask = table[stored]
    if (mask == NO_CLASS).any():
        values = ", ".join(map(str, np.unique(stored[mask == NO_CLASS])[:5]))
        raise DataError(f"{path} has pixels of the value {values}, which stands for no class of this dataset")
    return mask.astype(np.uint8)


def join_masks(
    first: np.ndarray | MaskFiles | ImageList | None, second: np.ndarray | MaskFiles | ImageList | None
) -> np.ndarray | MaskFiles | None:
    """The masks of ``first`` followed by those of ``second``, two parts of one set.

    Raises:
        DataError: they are of different types, or their files are in different folders.
    """
    if first is None and second is None:
        return None
    if isinstance(first, MaskFiles) and isinstance(second, MaskFiles):
        files = join(first.files, second.files)
        assert isinstance(files, ImageFiles)
        return MaskFiles(files, first.tables, np.concatenate([first.table, second.table]))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second])
    raise DataError("train and val masks are stored in different formats and cannot be merged")


def value_table(classes: dict[int, int]) -> np.ndarray:
    """A row of `MaskFiles.tables`, int16 [256], from the class index by stored value; all other values are no class."""
    table = np.full(256, NO_CLASS, np.int16)
    table[list(classes)] = list(classes.values())
    return table
