"""The tables of outcomes and corners as arrays: exit and answer of each test sample at the operating points of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from results.stats.average_precision import mean_precision
from results.stats.iou import pseudo_values
from results.tables.box_answers import BoxAnswers
from results.tables.pixel_counts import REGION, WITHOUT_EXITS, PixelCounts
from results.tables.wide_format import grouped, to_wide

CORNERS = ("policy", "threshold", "sample_id", "exit")
COLUMNS = ("point", "threshold", "weight", "sample_id", "exit")


@dataclass(frozen=True)
class PointOutcomes(ABC):
    """One operating point: S settings in ascending order of threshold, N samples in ascending order of their ids.

    Attributes:
        sample_id: [N].
        weight: weights of the settings, [S], summing to 1.
        exit: the exit taken, [S, N].
        score: confidence at the exit taken, [S, N]; NaN in a shared table without it (`results.store.sharing`).
    """

    sample_id: np.ndarray
    weight: np.ndarray
    exit: np.ndarray
    score: np.ndarray

    @property
    @abstractmethod
    def values(self) -> np.ndarray:
        """The value of each sample, mean over the settings, [N]; its mean over samples is the metric. See `results.metric`."""

    @property
    def metric(self) -> float:
        """The mean of `values`; where it has a shorter way, without the values."""
        return float(self.values.mean())

    @property
    @abstractmethod
    def answered(self) -> np.ndarray:
        """The classes that are answered anywhere, ascending."""

    @property
    @abstractmethod
    def exits_and_answers(self) -> np.ndarray:
        """Exits and answers as one array, to find copies of a training; never zero everywhere."""

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Weighted mean over the settings: [S, N] to [N]."""
        return (values * self.weight[:, None]).sum(axis=0)


@dataclass(frozen=True)
class ClassOutcomes(PointOutcomes):
    """An operating point of a classification.

    Attributes:
        label: [N].
        prediction: [S, N].
    """

    label: np.ndarray
    prediction: np.ndarray

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each prediction is correct, bool [S, N]."""
        return self.prediction == self.label

    @cached_property
    def values(self) -> np.ndarray:
        """Mean correctness of each sample over the settings, [N]; 0 or 1 with one setting."""
        return self.mean(self.right)

    @property
    def answered(self) -> np.ndarray:
        return np.unique(self.prediction)

    @cached_property
    def exits_and_answers(self) -> np.ndarray:
        return np.concatenate([self.exit.ravel() + 1, self.prediction.ravel()])


@dataclass(frozen=True)
class PixelOutcomes(PointOutcomes):
    """An operating point of a segmentation.

    Attributes:
        evidence: the counts of all exits, for the same samples.
    """

    evidence: PixelCounts

    @property
    def counts(self) -> np.ndarray:
        """Counts at the exits taken, [S, N, C, 6]."""
        return self.evidence.taken(self.exit)

    @cached_property
    def values(self) -> np.ndarray:
        """`results.stats.iou.pseudo_values` of each sample, mean over the settings, [N]."""
        return self.mean(pseudo_values(self.counts[..., REGION]))

    @property
    def answered(self) -> np.ndarray:
        return np.flatnonzero(self.counts[..., :2].any(axis=(0, 1, 3)))

    @cached_property
    def exits_and_answers(self) -> np.ndarray:
        """Exits, and the number of pixels of each image that are answered correctly."""
        return np.concatenate([self.exit.ravel() + 2, self.counts[..., 0].sum(axis=-1).ravel()])


@dataclass(frozen=True)
class BoxOutcomes(PointOutcomes):
    """An operating point of a detection.

    Attributes:
        evidence: the boxes of all exits, for the same samples.
    """

    evidence: BoxAnswers

    @cached_property
    def values(self) -> np.ndarray:
        """`results.stats.average_precision.pseudo_values` of each sample, mean over the settings, [N]."""
        return self.mean(np.stack([self.evidence.values(taken) for taken in self.exit]))

    @cached_property
    def metric(self) -> float:
        return float(self.weight @ [mean_precision(self.evidence.precision(taken)) for taken in self.exit])

    @property
    def answered(self) -> np.ndarray:
        rows = [self.evidence.found_at(taken) for taken in self.exit]
        return np.unique(self.evidence.found.label[np.concatenate(rows)])

    @cached_property
    def exits_and_answers(self) -> np.ndarray:
        """Exits, and the boxes that are found in each image, as one number."""
        fingerprints = self.evidence.fingerprints[self.exit, np.arange(len(self.sample_id))]
        return np.concatenate([self.exit.ravel() + 2, fingerprints.ravel()])


@dataclass(frozen=True)
class HullOutcomes:
    """A policy at the H corners of its hull.

    Attributes:
        sample_id: [N], ascending.
        values: of each sample, see `results.metric`; in a classification whether the prediction is correct, bool. [H, N].
        exit: the exit taken, [H, N].
    """

    sample_id: np.ndarray
    values: np.ndarray
    exit: np.ndarray


Evidence = PixelCounts | BoxAnswers
"""What the exit taken points to in a task whose table of outcomes has no answers."""


def split_by_point(outcomes: pd.DataFrame) -> dict[str, ClassOutcomes]:
    """The operating points of a classification from a table of outcomes, by name.

    Raises:
        ValueError: a column is missing, or a setting does not have each sample once.
    """
    points = {}
    for point, rows in grouped(outcomes, "outcomes", (*COLUMNS, "prediction", "label"), ("score",)):
        wide = _wide_outcomes(rows, point)
        if (wide["label"] != wide["label"][0]).any():
            raise ValueError(f"the outcomes at {point!r}: a label differs within a setting")
        # A copy of the short array, so that the long column is freed.
        points[point] = ClassOutcomes(**_common(wide), label=wide["label"][0].copy(), prediction=wide["prediction"])
    return points


def split_by_point_of(outcomes: pd.DataFrame, evidence: Evidence) -> dict[str, PointOutcomes]:
    """The operating points of a segmentation or a detection from a table of outcomes, by name.

    Raises:
        ValueError: a column is missing, a setting does not have each sample of ``evidence`` once, or an exit is not in it.
    """
    points: dict[str, PointOutcomes] = {}
    for point, rows in grouped(outcomes, "outcomes", COLUMNS, ("score",)):
        wide = _wide_outcomes(rows, point)
        _check_fit(f"the outcomes at {point!r}", wide, evidence)
        if isinstance(evidence, PixelCounts):
            points[point] = PixelOutcomes(**_common(wide), evidence=evidence)
        else:
            points[point] = BoxOutcomes(**_common(wide), evidence=evidence)
    return points


def split_by_policy(corners: pd.DataFrame, evidence: Evidence | None = None) -> dict[str, HullOutcomes]:
    """The policies of a table of corners, by name; see `results.tables.run.Run`.

    Args:
        corners: the table.
        evidence: of a segmentation or detection, whose table has no column ``right``.

    Raises:
        ValueError: a column is missing, a corner does not have each sample once, or it does not fit the evidence.
    """
    policies = {}
    for policy, rows in grouped(corners, "corners", CORNERS if evidence else (*CORNERS, "right")):
        name = f"the corners of {policy!r}"
        wide = to_wide(rows, name)
        if evidence is None:
            values = wide["right"]
        else:
            _check_fit(name, wide, evidence)
            values = np.stack([_values(evidence, exits) for exits in wide["exit"]])
        policies[policy] = HullOutcomes(wide["sample_id"][0], values, wide["exit"])
    return policies


def _wide_outcomes(rows: dict[str, np.ndarray], point: str) -> dict[str, np.ndarray]:
    wide = to_wide(rows, f"the outcomes at {point!r}")
    if (wide["weight"] != wide["weight"][:, :1]).any():
        raise ValueError(f"the outcomes at {point!r}: a weight differs within a setting")
    return wide


def _common(wide: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The fields of `PointOutcomes`, with copies of the short arrays, so that the long columns are freed."""
    return {
        "sample_id": wide["sample_id"][0].copy(), "weight": wide["weight"][:, 0].copy(), "exit": wide["exit"],
        "score": wide["score"],
    }  # fmt: skip


def _values(evidence: Evidence, taken: np.ndarray) -> np.ndarray:
    """The value of each image at its exit, [N]."""
    if isinstance(evidence, PixelCounts):
        return pseudo_values(evidence.taken(taken)[..., REGION])
    return evidence.values(taken)


def _check_fit(name: str, wide: dict[str, np.ndarray], evidence: Evidence) -> None:
    if not np.array_equal(wide["sample_id"][0], evidence.sample_id):
        raise ValueError(f"{name} are of other samples than the answers")
    if wide["exit"].min() < WITHOUT_EXITS or wide["exit"].max() >= evidence.exits:
        raise ValueError(f"{name} name an exit that the record does not have")
