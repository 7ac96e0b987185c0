"""The table of the exits of a model that this suite did not train: one row per sample and exit, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from benchmark.errors import UserError
from methods.lookup import nearest

REQUIRED = ("sample_id", "exit", "prediction", "confidence", "label")
INTEGERS = ("sample_id", "exit", "prediction", "label")
SPLITS = ("val", "test")
COLUMNS = ("split", *REQUIRED)
"""Of the file that `write_exits` writes."""
MAX_CLASSES = 10**7
MAX_MACS = 10**18
LIMITS = {"sample_id": 2**53, "exit": 10_001, "prediction": MAX_CLASSES, "label": MAX_CLASSES}
"""Integers are below these."""
LEAK = 0.1
"""Largest share of the test samples that may also be in val."""


@dataclass(frozen=True)
class ExternalExits:
    """What K exits predict for the N samples of one split, in ascending order of their ids.

    Attributes:
        sample_id: int64 [N].
        label: class indices, int64 [N].
        prediction: class indices, int64 [K, N].
        confidence: in [0, 1], float32 [K, N].
    """

    sample_id: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Bools [K, N]."""
        return self.prediction == self.label

    @property
    def samples(self) -> int:
        return len(self.sample_id)

    def table(self) -> pd.DataFrame:
        """One row per exit, counted from 1, and sample: exit, sample_id, label, prediction, confidence."""
        exits = len(self.prediction)
        return pd.DataFrame(
            {
                "exit": np.repeat(np.arange(1, exits + 1, dtype=np.int16), self.samples),
                "sample_id": np.tile(self.sample_id, exits),
                "label": np.tile(self.label, exits),
                "prediction": self.prediction.ravel(),
                "confidence": self.confidence.ravel(),
            }
        )


def read_exits(
    path: Path, val_ids: Path | None, macs: Sequence[float] | None
) -> tuple[dict[str, ExternalExits], list[int]]:
    """Read a CSV or Parquet file.

    Columns: sample_id, exit (1 to K, the final classifier last), prediction and label (class indices), confidence in [0, 1].
    ``split`` (val or test) unless ``val_ids`` is given. ``macs``, the cost of leaving at the exit, unless given.

    Args:
        path: the file.
        val_ids: a text file with the ids of the val samples, one per line; all others are test.
        macs: the cost of leaving at each exit, evaluated heads included.

    Returns:
        the exits by split, and the MACs of each exit.

    Raises:
        UserError: every kind of mistake, with its place and number.
    """
    table = _checked_columns(_read(path), path)
    if val_ids is not None:
        table["split"] = np.where(table["sample_id"].isin(_ids(val_ids, table)), "val", "test")
    elif "split" not in table:
        raise UserError(f"{path}: no column 'split' (val or test); add it, or name a file of val ids with --val-ids")
    wrong = ~table["split"].isin(SPLITS)
    if wrong.any():
        raise UserError(f"{path}: {_row(wrong)}: split is val or test, not {table['split'][wrong].iloc[0]!r}")
    exits = np.unique(table["exit"])
    if exits[0] != 1 or exits[-1] != len(exits) or len(exits) < 2:
        raise UserError(f"{path}: exits are numbered 1 to K, at least 2; the file has {', '.join(map(str, exits))}")
    splits = {split: _split(table[table["split"] == split], split, len(exits), path) for split in SPLITS}
    _refuse_leak(splits, path)
    return splits, _costs(table, len(exits), macs, path)


def write_exits(splits: Mapping[str, ExternalExits], path: Path) -> None:
    """Write the checked exits as one Parquet table with the columns `COLUMNS`."""
    parts = [exits.table().assign(split=split) for split, exits in splits.items()]
    pd.concat(parts, ignore_index=True)[list(COLUMNS)].to_parquet(path, index=False)


def load_exits(path: Path) -> dict[str, ExternalExits]:
    """The exits by split, from a file of `write_exits`."""
    table = pd.read_parquet(path)
    exits = int(table["exit"].max())
    return {split: _split(table[table["split"] == split], split, exits, path) for split in SPLITS}


def _read(path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: a file name that ends with .csv or .parquet is needed")
    try:
        return readers[path.suffix.lower()](path)
    except (OSError, ValueError, ArrowException) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from None


def _checked_columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        nearest_columns = {name: nearest(name, map(str, table.columns)).rstrip() for name in missing}
        described = [f"{name} ({hint})" if hint else name for name, hint in nearest_columns.items()]
        raise UserError(f"{path}: no column {', '.join(described)}; needed are {', '.join(REQUIRED)}")
    if table.empty:
        raise UserError(f"{path}: the table has no rows")
    table = table.copy()
    for name in (*REQUIRED, *(["macs"] if "macs" in table else [])):
        numbers = pd.to_numeric(table[name], errors="coerce").astype("float64")
        wrong = ~numbers.abs().lt(np.inf)
        if name in INTEGERS:
            wrong |= (numbers % 1 != 0) | (numbers < 0) | (numbers >= LIMITS[name])
        if name == "confidence":
            wrong |= (numbers < 0) | (numbers > 1)
        if name == "macs":
            wrong |= (numbers < 1) | (numbers > MAX_MACS)
        if wrong.any():
            texts = {"confidence": "a number in [0, 1]", "macs": f"a number from 1 to {MAX_MACS:g}"}
            allowed = texts.get(name) or f"an integer from 0 to {LIMITS[name] - 1:,}"
            raise UserError(
                f"{path}: {_row(wrong)}: {name} must be {allowed}, not {table[name][wrong].iloc[0]} "
                f"({int(wrong.sum())} such rows)"
            )
        table[name] = numbers.astype("int64") if name in INTEGERS else numbers
    return table


def _row(mask: pd.Series) -> str:
    """The first row of a mask, counted from 1 without the header."""
    return f"row {int(np.flatnonzero(mask.to_numpy())[0]) + 1}"


def _ids(path: Path, table: pd.DataFrame) -> list[int]:
    try:
        ids = [int(line) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise UserError(f"--val-ids {path}: needs one integer per line ({error})") from None
    absent = sorted(set(ids) - set(table["sample_id"]))
    if absent:
        raise UserError(f"--val-ids {path}: {len(absent)} ids have no rows in the table, the first is {absent[0]}")
    return ids


def _split(rows: pd.DataFrame, split: str, exits: int, path: Path) -> ExternalExits:
    if rows.empty:
        raise UserError(f"{path}: no sample of {split}; thresholds are chosen on val and applied to test")
    repeated = rows.duplicated(["sample_id", "exit"])
    if repeated.any():
        first = rows[repeated].iloc[0]
        raise UserError(
            f"{path}: {int(repeated.sum())} duplicate rows in {split}, the first is sample {first['sample_id']} at exit "
            f"{first['exit']}; one row per sample and exit is allowed"
        )
    counts = rows.groupby("sample_id").size()
    short = counts[counts < exits]
    if len(short):
        present = set(rows.loc[rows["sample_id"] == short.index[0], "exit"])
        absent = ", ".join(str(k) for k in range(1, exits + 1) if k not in present)
        raise UserError(
            f"{path}: {len(short)} samples of {split} lack rows, the first is sample {short.index[0]} without exit {absent}; "
            "every sample needs a row for every exit"
        )
    ordered = rows.sort_values(["exit", "sample_id"])
    wide = {name: ordered[name].to_numpy().reshape(exits, -1) for name in REQUIRED}
    differs = (wide["label"] != wide["label"][0]).any(axis=0)
    if differs.any():
        raise UserError(
            f"{path}: sample {wide['sample_id'][0][differs][0]} of {split} has different labels at its exits"
        )
    return ExternalExits(
        wide["sample_id"][0], wide["label"][0], wide["prediction"], wide["confidence"].astype(np.float32)
    )


def _refuse_leak(splits: Mapping[str, ExternalExits], path: Path) -> None:
    """
    Raises:
        UserError: more than `LEAK` of the test samples are also in val, with equal ids, labels, predictions and confidences.
    """
    rows = {
        split: set(
            zip(
                exits.sample_id.tolist(),
                exits.label.tolist(),
                map(bytes, exits.prediction.T),
                map(bytes, exits.confidence.T),
                strict=True,
            )
        )
        for split, exits in splits.items()
    }
    shared, samples = len(rows["val"] & rows["test"]), splits["test"].samples
    if shared > LEAK * samples:
        raise UserError(
            f"{path}: {shared} of {samples} test samples are also in val, on which thresholds are chosen; the two need "
            "different samples"
        )


def _costs(table: pd.DataFrame, exits: int, macs: Sequence[float] | None, path: Path) -> list[int]:
    if macs is None:
        if "macs" not in table:
            raise UserError(
                f"{path}: no cost of the exits; add a column 'macs' (what has run when a sample leaves at the exit), or use "
                f"--macs with {exits} numbers"
            )
        by_exit = table.groupby("exit")["macs"]
        if (by_exit.nunique() > 1).any():
            exit_ = by_exit.nunique().idxmax()
            raise UserError(f"{path}: exit {exit_} has several costs in the column macs; an exit has one")
        macs = by_exit.first().tolist()
    elif len(macs) != exits:
        raise UserError(f"--macs: {len(macs)} numbers for {exits} exits; one per exit is needed, shallow to deep")
    costs = [round(value) for value in macs]
    if costs != sorted(set(costs)) or costs[0] < 1 or costs[-1] > MAX_MACS:
        raise UserError(
            f"the costs of the exits must grow from exit to exit, between 1 and {MAX_MACS:g} MACs; they are "
            f"{', '.join(map(str, costs))}"
        )
    return costs
