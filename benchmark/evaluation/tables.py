"""The frames behind the tables of a run, with one row per sample, exit or setting. `results.tables.run.Run` reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.evaluation.decisions import Decisions, Sweep
from results.operating_point import WeightedThreshold
from results.record import CostTable
from results.tables.run import STATIC


def exit_frame(
    point: str, setting: WeightedThreshold, *, sample_id: np.ndarray, exit_taken: np.ndarray, score: np.ndarray
) -> pd.DataFrame:
    """Rows of the table of outcomes in a task in which the exit taken says which stored answers of a sample count."""
    return pd.DataFrame(
        {
            "point": point,
            "threshold": np.nan if point == STATIC else setting.threshold,
            "weight": setting.weight,
            "sample_id": sample_id,
            "exit": exit_taken,
            "score": score,
        }
    )


def outcome_frame(
    point: str,
    setting: WeightedThreshold,
    *,
    sample_id: np.ndarray,
    exit_taken: np.ndarray,
    prediction: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
) -> pd.DataFrame:
    """Rows of the table of outcomes: N samples under one setting of a point, whose arrays are [N]."""
    return pd.DataFrame(
        {
            "point": point,
            "threshold": np.nan if point == STATIC else setting.threshold,
            "weight": setting.weight,
            "sample_id": sample_id,
            "exit": exit_taken,
            "prediction": prediction,
            "label": label,
            "score": score,
        }
    )


def corner(label: str, row: int, decisions: Decisions, sample_id: np.ndarray) -> pd.DataFrame:
    """Exit and correctness of every test sample at one corner of a hull, which is a row of the decisions."""
    return corner_frame(
        label, float(decisions.settings[row]), sample_id, decisions.exit_taken[row], decisions.is_right(row)
    )


def no_corners(has_right: bool) -> pd.DataFrame:
    """The table of `corner` without rows; ``has_right`` is whether answers are right or wrong."""
    empty = np.zeros(0, dtype=np.int64)
    return corner_frame("", 0.0, empty, empty, empty if has_right else None)


def corner_frame(
    label: str, setting: float, sample_id: np.ndarray, exit_taken: np.ndarray, right: np.ndarray | None
) -> pd.DataFrame:
    """The table of `corner` with its column types; the arrays are [N], ``right`` is None where no answer is right or wrong."""
    frame = pd.DataFrame(
        {
            "policy": pd.Series([label] * len(exit_taken), dtype="str"),
            "threshold": np.full(len(exit_taken), setting),
            "sample_id": sample_id,
            "exit": exit_taken.astype(np.int16),
        }
    )
    return frame if right is None else frame.assign(right=right.astype(bool))


def curve(policy: str, split: str, swept: Sweep, costs: CostTable, blocks: list[int]) -> pd.DataFrame:
    """Accuracy with its interval, mean MACs and mean block of every setting."""
    macs, depth = swept.mean(costs.cumulative), swept.mean(blocks)
    rows = []
    for t, setting in enumerate(swept.settings):
        accuracy, low, high = (float(values[t]) for values in (swept.accuracy, swept.low, swept.high))
        rows.append((policy, split, float(setting), accuracy, low, high, macs[t], depth[t]))
    return curve_frame(rows)


def curve_frame(rows: list[tuple[str, str, float, float, float, float, float, float]]) -> pd.DataFrame:
    """The table of `curve` with its column types; the rows may be empty."""
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64"))
