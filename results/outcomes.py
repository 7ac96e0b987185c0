"""What every test sample did at the operating points of a run: the table of outcomes, cut up once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

COLUMNS = ("point", "threshold", "weight", "sample_id", "exit", "prediction", "label", "score")


@dataclass(frozen=True)
class Taken:
    """One operating point: S settings in ascending order of threshold, N samples in ascending order of their ids.

    Attributes:
        sample_id: [N].
        label: [N].
        weight: of the settings, [S], summing to 1.
        exit: the exit taken, [S, N].
        prediction: [S, N].
        score: largest probability at the exit taken, [S, N].
    """

    sample_id: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    exit: np.ndarray
    prediction: np.ndarray
    score: np.ndarray

    @cached_property
    def right(self) -> np.ndarray:
        """Bools [S, N]."""
        return self.prediction == self.label

    @cached_property
    def correct(self) -> pd.Series:
        """Share of right answers of every sample, indexed by sample id: 0 or 1, or between them where settings are mixed."""
        return pd.Series(self.mean(self.right), index=pd.Index(self.sample_id))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Over the settings, by their weights: [S, N] to [N]."""
        return (values * self.weight[:, None]).sum(axis=0)


def cut(outcomes: pd.DataFrame) -> dict[str, Taken]:
    """Every operating point of a table of outcomes, by name.

    Raises:
        ValueError: a column is missing, or a setting does not hold every sample once.
    """
    missing = [name for name in COLUMNS if name not in outcomes]
    if missing:
        raise ValueError(f"the table of outcomes has no column {', '.join(missing)}")
    codes, names = pd.factorize(outcomes["point"])
    columns = {name: outcomes[name].to_numpy() for name in COLUMNS[1:]}
    if (codes[1:] < codes[:-1]).any():
        order = np.argsort(codes, kind="stable")
        codes, columns = codes[order], {name: values[order] for name, values in columns.items()}
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    return {
        str(name): _taken({column: values[start:end] for column, values in columns.items()}, str(name))
        for name, start, end in zip(names, starts[:-1], starts[1:], strict=True)
    }


@dataclass(frozen=True)
class Cornered:
    """A policy at the H corners of its hull: bools `right` and the `exit` taken, [H, N]; `sample_id` [N] ascends."""

    sample_id: np.ndarray
    right: np.ndarray
    exit: np.ndarray


def cut_corners(corners: pd.DataFrame) -> dict[str, Cornered]:
    """Every policy of a table of corners, by name; see `results.run.Run`.

    Raises:
        ValueError: a corner does not hold every sample once.
    """
    missing = [name for name in ("policy", "threshold", "sample_id", "exit", "right") if name not in corners]
    if missing:
        raise ValueError(f"the table of corners has no column {', '.join(missing)}")
    found = {}
    for policy in corners["policy"].unique():
        rows = corners[corners["policy"] == policy]
        threshold, sample_id, right, exits = (
            rows[name].to_numpy() for name in ("threshold", "sample_id", "right", "exit")
        )
        try:
            where = by_setting(threshold, sample_id)
        except ValueError as error:
            raise ValueError(f"the corners of {policy!r}: {error}") from None
        found[str(policy)] = Cornered(sample_id[where[0]], right[where], exits[where])
    return found


def by_setting(threshold: np.ndarray, sample_id: np.ndarray) -> np.ndarray:
    """Where each sample lies under each setting, in ascending order of thresholds and of ids: indices [S, N].

    Raises:
        ValueError: a setting does not hold every sample once.
    """
    starts = np.flatnonzero(np.r_[True, (threshold[1:] != threshold[:-1]) & ~np.isnan(threshold[1:])])
    rows: np.ndarray = np.arange(len(threshold))
    if (len(starts) > 1 and (np.diff(threshold[starts]) <= 0).any()) or not _ascends(sample_id, starts):
        rows = np.lexsort((sample_id, threshold))
        starts = np.flatnonzero(np.r_[True, np.diff(threshold[rows]) > 0])
    if not len(threshold) or len(threshold) % len(starts):
        raise ValueError("a setting does not hold every sample once")
    found: np.ndarray = rows.reshape(len(starts), -1)
    ids: np.ndarray = sample_id[found]
    if (
        (ids != ids[0]).any()
        or (ids[0][1:] <= ids[0][:-1]).any()
        or (starts != found.shape[1] * np.arange(len(starts))).any()
    ):
        raise ValueError("a setting does not hold every sample once")
    return found


def _ascends(sample_id: np.ndarray, starts: np.ndarray) -> bool:
    """Whether the ids ascend but for the starts of settings."""
    falls = np.flatnonzero(sample_id[1:] <= sample_id[:-1]) + 1
    return len(falls) == len(starts) - 1 and bool((falls == starts[1:]).all())


def _taken(rows: dict[str, np.ndarray], point: str) -> Taken:
    try:
        where = by_setting(rows["threshold"], rows["sample_id"])
    except ValueError as error:
        raise ValueError(f"the outcomes at {point!r}: {error}") from None
    straight = (
        where[0, 0] == 0 and len(where) * where.shape[1] - 1 == where[-1, -1] and (np.diff(where[:, 0]) > 0).all()
    )
    wide = {
        name: values.reshape(where.shape) if straight else values[where]
        for name, values in rows.items()
        if name != "threshold"
    }
    if (wide["label"] != wide["label"][0]).any() or (wide["weight"] != wide["weight"][:, :1]).any():
        raise ValueError(f"the outcomes at {point!r}: a label or a weight differs within a setting")
    return Taken(
        wide["sample_id"][0], wide["label"][0], wide["weight"][:, 0], wide["exit"], wide["prediction"], wide["score"]
    )
