"""Whether the tables beside a record fit it. Records come from anybody; a run whose parts do not fit is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from results.tables.run import Run

CURVES = ("threshold", "accuracy", "low", "high", "mean_macs", "mean_block")


def check_tables(run: Run) -> None:
    """
    Raises:
        ValueError: a table beside the record has other columns, exits, points or samples than the record says.
    """
    exits = max(len(run.record.exits), 1)
    wanted = ["static", *(point.name for point in run.record.points if point.reached)]
    missing = [name for name in wanted if name not in run.point_outcomes]
    if missing:
        raise ValueError(f"the outcomes lack the point {missing[0]!r}")
    first = run.point_outcomes["static"]
    for name, taken in run.point_outcomes.items():
        if not np.array_equal(taken.sample_id, first.sample_id) or not np.array_equal(taken.label, first.label):
            raise ValueError(f"the outcomes at {name!r} are of other samples than those without exits")
        if taken.exit.min() < 0 or taken.exit.max() >= exits:
            raise ValueError(f"the outcomes at {name!r} name an exit that the record has not")
    _check_columns(run.curves, ("policy", "split"), CURVES, "curves")
    if not run.has_exits:
        return
    for policy, corners in run.hull_outcomes.items():
        if not np.array_equal(corners.sample_id, first.sample_id):
            raise ValueError(f"the corners of {policy!r} are of other samples than the outcomes")
        if corners.exit.min() < 0 or corners.exit.max() >= exits:
            raise ValueError(f"the corners of {policy!r} name an exit that the record has not")
    if len(run.answers.prediction) != exits or not np.isin(first.sample_id, run.answers.sample_id).all():
        raise ValueError("the answers are of other exits or samples than the outcomes")


def _check_columns(table: pd.DataFrame, texts: tuple[str, ...], numbers: tuple[str, ...], name: str) -> None:
    missing = [column for column in (*texts, *numbers) if column not in table]
    if missing:
        raise ValueError(f"the table of {name} has no column {', '.join(missing)}")
    other = [column for column in numbers if not pd.api.types.is_numeric_dtype(table[column])]
    if other:
        raise ValueError(f"the table of {name} holds no numbers in {', '.join(other)}")
