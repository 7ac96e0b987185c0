"""The predictions of every exit for every test sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ("exit", "sample_id", "label", "prediction")
REAL = ("confidence", "nll")  # missing in shared copies (`results.store.sharing`); NaN here


@dataclass(frozen=True)
class Answers:
    """The predictions of K exits, the final head last, for N samples in ascending order of their ids.

    Attributes:
        sample_id: [N].
        label: [N].
        prediction: [K, N].
        confidence: largest softmax probability, [K, N].
        nll: negative log-likelihood of the label in nats, [K, N].
    """

    sample_id: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray
    nll: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is correct, bool [K, N]."""
        return self.prediction == self.label

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Answers:
        """Arrays from a table with one row per exit and sample, as in `answers.parquet`.

        Raises:
            ValueError: a column or a row is missing, or a row is repeated.
        """
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise ValueError(f"the table of answers has no column {', '.join(missing)}")
        columns = {name: table[name].to_numpy() for name in COLUMNS}
        columns |= {name: table[name].to_numpy() if name in table else np.full(len(table), np.nan) for name in REAL}
        order = np.lexsort((columns["sample_id"], columns["exit"]))
        columns = {name: values[order] for name, values in columns.items()}
        exits = 1 + int((columns["exit"][1:] != columns["exit"][:-1]).sum())
        sample_id = columns["sample_id"]
        if not len(table) or len(table) % exits or (sample_id[1:] == sample_id[:-1]).any():
            raise ValueError("the table of answers does not hold every exit once for every sample")
        wide = {name: values.reshape(exits, -1) for name, values in columns.items()}
        if (wide["sample_id"] != wide["sample_id"][0]).any() or (wide["exit"] != np.arange(exits)[:, None]).any():
            raise ValueError("the table of answers does not hold the same samples at every exit")
        return cls(
            wide["sample_id"][0].copy(), wide["label"][0].copy(), wide["prediction"], wide["confidence"], wide["nll"]
        )
