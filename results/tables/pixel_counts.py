"""Counts of pixels of every exit for every test image: the table `answers` of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KEYS = ("exit", "sample_id", "class")
COUNTS = ("tp", "fp", "fn", "edge_tp", "edge_fp", "edge_fn")
REGION, EDGE = slice(0, 3), slice(3, 6)
"""Of the last axis of counts: all pixels, and those of boundaries."""
WITHOUT_EXITS = -1
"""The exit of the backbone without exits."""
MAX_COUNTS = 3 * 10**8
"""Largest number of counts that is read; they take four bytes each."""


@dataclass(frozen=True)
class PixelCounts:
    """Counts of K exits, the final one last, and of the backbone without exits, for N images and C classes.

    Attributes:
        sample_id: ascending, [N].
        counts: true positive, false positive and false negative pixels, then the same of boundary pixels. The last row is
            that of the backbone without exits. int32, [K + 1, N, C, 6].
    """

    sample_id: np.ndarray
    counts: np.ndarray

    @property
    def exits(self) -> int:
        """K."""
        return len(self.counts) - 1

    @property
    def at_exit(self) -> np.ndarray:
        """[K, N, C, 6]."""
        return self.counts[:-1]

    @property
    def without_exits(self) -> np.ndarray:
        """[N, C, 6]."""
        return self.counts[-1]

    @property
    def labelled(self) -> np.ndarray:
        """Labelled pixels, [N, C]."""
        return self.counts[-1, :, :, 0] + self.counts[-1, :, :, 2]

    def taken(self, exits: np.ndarray) -> np.ndarray:
        """The counts of each image at its exit: [..., N] to [..., N, C, 6]; `WITHOUT_EXITS` is an exit, too."""
        return self.counts[exits, np.arange(len(self.sample_id))]

    @classmethod
    def from_table(cls, table: pd.DataFrame, sample_id: np.ndarray, exits: int, classes: int) -> PixelCounts:
        """Arrays from a table with one row per exit, image and class; missing rows are zero.

        Args:
            table: with the columns `KEYS` and `COUNTS`.
            sample_id: of all images, ascending, [N].
            exits: K.
            classes: C.

        Raises:
            ValueError: a column is missing, a row names an unknown exit, image or class or is repeated, there are too many
                counts, or counts contradict each other.
        """
        if missing := [name for name in (*KEYS, *COUNTS) if name not in table]:
            raise ValueError(f"the table of answers has no column {', '.join(missing)}")
        for name in (*KEYS, *COUNTS):
            if not pd.api.types.is_integer_dtype(table[name]):
                raise ValueError(f"the table of answers holds no whole numbers in {name}")
        shape = (exits + 1, len(sample_id), classes, len(COUNTS))
        if np.prod(shape, dtype=np.float64) > MAX_COUNTS:
            raise ValueError(f"the answers have {' x '.join(map(str, shape))} counts; at most {MAX_COUNTS:,} are read")
        exit_, sample, class_ = (table[name].to_numpy() for name in KEYS)
        image = np.searchsorted(sample_id, sample)
        if not np.isin(sample, sample_id).all():
            raise ValueError("the answers are of other samples than the outcomes")
        for name, values, low, high in (
            ("exit", exit_, WITHOUT_EXITS, exits),
            ("class", class_, 0, classes),
        ):
            if len(values) and not low <= values.min() <= values.max() < high:
                raise ValueError(f"the answers name {name} {values.max() if values.min() >= low else values.min()}")
        cells = np.ravel_multi_index((exit_.astype(np.int64) % (exits + 1), image, class_), shape[:3])
        if len(np.unique(cells)) < len(cells):
            raise ValueError("the answers hold a class twice for an image at an exit")
        rows = table[list(COUNTS)].to_numpy(dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < 2**30:
            raise ValueError("the answers hold counts that are negative or too large")
        counts = np.zeros(shape, dtype=np.int32)
        counts.reshape(-1, len(COUNTS))[cells] = rows
        read = cls(sample_id, counts)
        read._check()
        return read

    def _check(self) -> None:
        """The labels are the same at every exit, and a pixel that is wrong for one class is wrong for another.

        Raises:
            ValueError: otherwise.
        """
        if not self.without_exits.any():
            raise ValueError("the answers lack the backbone without exits")
        label_edges = self.without_exits[..., 3] + self.without_exits[..., 5]
        for number, counts in enumerate(self.counts):
            name = "the backbone without exits" if number == len(self.counts) - 1 else f"exit {number + 1}"
            if not counts.any() and len(self.counts) == 2:
                continue  # of a model without early exits, its own row may be missing
            if not (
                np.array_equal(counts[..., 0] + counts[..., 2], self.labelled)
                and np.array_equal(counts[..., 3] + counts[..., 5], label_edges)
            ):
                raise ValueError(f"the answers of {name} are for other labels than those of the backbone without exits")
            if not np.array_equal(counts[..., 1].sum(axis=-1), counts[..., 2].sum(axis=-1)):
                raise ValueError(
                    f"the answers of {name} have other numbers of wrongly found and of missed pixels in an image"
                )
