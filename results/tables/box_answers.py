"""The boxes that every exit finds in every test image, and the labelled ones: `answers` and `ground_truth` of a detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps

import numpy as np
import pandas as pd

from results.stats.average_precision import (
    average_precision,
    mean_precision,
    precision_by_class,
    pseudo_values,
    recall,
)
from results.stats.box_matching import LARGE, MEDIUM, SMALL, FoundBoxes, Matches, TrueBoxes, match, match_in_areas
from results.tables.pixel_counts import WITHOUT_EXITS

SIDES = ("left", "top", "right", "bottom")
FOUND = ("exit", "sample_id", "label", "score", *SIDES)
LABELLED = ("sample_id", "label", "ignored", *SIDES)
SIZES = {"small": SMALL, "medium": MEDIUM, "large": LARGE}
MOST = 100
"""Boxes of an exit in an image that are read, as in COCO."""


def _once(method: Callable[[BoxAnswers, np.ndarray], np.ndarray]) -> Callable[[BoxAnswers, np.ndarray], np.ndarray]:
    """A method that computes once for the same exits of the images: points, corners of hulls and exits have many in common."""

    @wraps(method)
    def kept(self: BoxAnswers, taken: np.ndarray) -> np.ndarray:
        key = method.__name__, taken.astype(np.int16).tobytes()
        if key not in self.kept:
            self.kept[key] = method(self, taken)
        return self.kept[key]

    return kept


@dataclass(frozen=True)
class BoxAnswers:
    """Boxes of K exits, the final one last, and of the backbone without exits, for N images.

    Attributes:
        sample_id: ascending, [N].
        exits: K.
        found: what the exits find; index K is the backbone without exits.
        truth: the labelled boxes.
    """

    sample_id: np.ndarray
    exits: int
    found: FoundBoxes
    truth: TrueBoxes

    @cached_property
    def matches(self) -> Matches:
        """Of all boxes. The exit `WITHOUT_EXITS` is the last of K + 1."""
        return match(self.found, self.truth, self.exits + 1)

    @cached_property
    def matches_by_size(self) -> dict[str, Matches]:
        """Where labelled boxes of other sizes are ignored, by the name in `SIZES`."""
        matches = match_in_areas(self.found, self.truth, self.exits + 1, list(SIZES.values()))
        return dict(zip(SIZES, matches, strict=True))

    @cached_property
    def kept(self) -> dict[tuple[str, bytes], np.ndarray]:
        """What the methods below have returned, by name and exits."""
        return {}

    @_once
    def precision(self, taken: np.ndarray) -> np.ndarray:
        """`precision_by_class` where images leave at exits, [N]; [C, 10]."""
        return precision_by_class(self.matches, taken)

    @_once
    def values(self, taken: np.ndarray) -> np.ndarray:
        """`pseudo_values`, likewise; [N]."""
        return pseudo_values(self.matches, taken)

    @_once
    def metrics(self, taken: np.ndarray) -> np.ndarray:
        """AP, AP50, AP by size in the order of `SIZES`, and AR100, likewise; [6]."""
        by_class = self.precision(taken)
        by_size = [average_precision(matches, taken) for matches in self.matches_by_size.values()]
        return np.array([mean_precision(by_class), by_class[:, 0].mean(), *by_size, recall(self.matches, taken)])

    @cached_property
    def at_exits(self) -> np.ndarray:
        """`precision` where all images leave at an exit, [K, C, 10]."""
        return np.array([self.precision(np.full(len(self.sample_id), k)) for k in range(self.exits)])

    @cached_property
    def fingerprints(self) -> np.ndarray:
        """A number for the scores, coordinates and labels that an exit finds in an image, in any order; int64 [K + 1, N]."""
        score = self.found.score.astype(np.float64)  # and so the other columns
        columns = pd.DataFrame(np.column_stack([score, self.found.label, self.found.boxes]))
        sums = np.zeros((self.exits + 1, len(self.sample_id)), dtype=np.uint64)
        np.add.at(
            sums, (self.found.exit, self.found.image), pd.util.hash_pandas_object(columns, index=False).to_numpy()
        )
        return sums.view(np.int64)

    def found_at(self, taken: np.ndarray) -> np.ndarray:
        """Positions of the boxes that the images' exits, [N], find."""
        return np.flatnonzero(self.found.exit == (taken % (self.exits + 1))[self.found.image])

    @classmethod
    def from_tables(
        cls, answers: pd.DataFrame, ground_truth: pd.DataFrame, sample_id: np.ndarray, exits: int, classes: int
    ) -> BoxAnswers:
        """Arrays from tables with one row per box.

        Args:
            answers: with the columns `FOUND`.
            ground_truth: with the columns `LABELLED`.
            sample_id: of all images, ascending, [N].
            exits: K.
            classes: C.

        Raises:
            ValueError: a column is missing, a row names an unknown exit, image or class, a box is no box, there are more than
                100 of an exit in an image, or no labelled box counts.
        """
        _check("answers", answers, FOUND, ("exit", "sample_id", "label"), sample_id, classes)
        _check("ground_truth", ground_truth, LABELLED, ("sample_id", "label"), sample_id, classes)
        exit_, score = answers["exit"].to_numpy(), answers["score"].to_numpy()
        if len(exit_) and not WITHOUT_EXITS <= exit_.min() <= exit_.max() < exits:
            raise ValueError("the answers name an exit that the record does not have")
        if not (np.isfinite(score) & (score >= 0) & (score <= 1)).all():
            raise ValueError("the answers hold scores outside 0 to 1")
        image = np.searchsorted(sample_id, answers["sample_id"].to_numpy()).astype(np.int32)
        exit_ = (exit_ % (exits + 1)).astype(np.int16)
        if len(exit_) and np.bincount(exit_.astype(np.int64) * len(sample_id) + image).max() > MOST:
            raise ValueError(f"the answers hold more than {MOST} boxes of an exit in an image")
        if ground_truth["ignored"].dtype != bool:
            raise ValueError("the table of ground_truth holds no truth values in ignored")
        found = FoundBoxes(exit_, image, _boxes(answers), score, answers["label"].to_numpy())
        where = np.searchsorted(sample_id, ground_truth["sample_id"].to_numpy())
        label, ignored = ground_truth["label"].to_numpy(), ground_truth["ignored"].to_numpy()
        if ignored.all():
            raise ValueError("the table of ground_truth has no box that counts")
        return cls(sample_id, exits, found, TrueBoxes(len(sample_id), where, _boxes(ground_truth), label, ignored))


def _check(
    name: str, table: pd.DataFrame, columns: Sequence[str], whole: Sequence[str], sample_id: np.ndarray, classes: int
) -> None:
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"the table of {name} has no column {', '.join(missing)}")
    for column in columns:
        is_number = pd.api.types.is_integer_dtype if column in whole else pd.api.types.is_numeric_dtype
        if not is_number(table[column]):
            raise ValueError(f"the table of {name} holds no {'whole ' * (column in whole)}numbers in {column}")
    if not np.isin(table["sample_id"], sample_id).all():
        raise ValueError(f"the table of {name} names other samples than the outcomes")
    label = table["label"].to_numpy()
    if len(label) and not 0 <= label.min() <= label.max() < classes:
        raise ValueError(f"the table of {name} has labels outside the {classes} classes of the record")
    boxes = _boxes(table)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise ValueError(
            f"the table of {name} holds a box whose right or bottom side is not beyond the left or top one"
        )


def _boxes(table: pd.DataFrame) -> np.ndarray:
    """[M, 4], in float32 if the table has it, as ours have."""
    corners = table[list(SIDES)].to_numpy()
    return corners if corners.dtype == np.float32 else corners.astype(np.float64)
