"""Checks that the tables beside a record are consistent with it, because results folders may be damaged or untrusted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from results.tables.examples import IGNORED, Example
from results.tables.outcomes import ClassOutcomes, PointOutcomes
from results.tables.pixel_counts import WITHOUT_EXITS
from results.tables.run import STATIC, Run

CURVES = ("threshold", "accuracy", "low", "high", "mean_macs", "mean_block")
TOLERANCE = 1e-6  # absolute for numbers up to 1, relative for larger ones


def check_tables(run: Run) -> None:
    """Compare the tables of a run with its record and with each other.

    Raises:
        ValueError: columns, exits, points or samples differ; the message names the first difference.
    """
    exits = max(len(run.record.exits), 1)
    names = [STATIC, *(point.name for point in run.record.points if point.reached)]
    missing = [name for name in names if name not in run.point_outcomes]
    if missing:
        raise ValueError(f"the outcomes lack the point {missing[0]!r}")
    first = run.point_outcomes[STATIC]
    for name, outcomes in run.point_outcomes.items():
        if not np.array_equal(outcomes.sample_id, first.sample_id) or not _have_equal_labels(outcomes, first):
            raise ValueError(f"the outcomes at {name!r} are of other samples than those without exits")
        without_exits = not run.is_classification and name == STATIC
        allowed = (WITHOUT_EXITS,) if without_exits else range(exits)
        if outcomes.exit.min() not in allowed or outcomes.exit.max() not in allowed:
            raise ValueError(f"the outcomes at {name!r} name an exit that the record does not have")
    examples = run.examples
    shown = {one.sample_id for one in examples} | {one.sample_id for one in run.pictures}
    if not shown <= set(first.sample_id.tolist()):
        raise ValueError("the examples or pictures are of other samples than the outcomes")
    for example in examples:
        _check_example(run, example, exits)
    _check_columns(run.curves, ("policy", "split"), CURVES, "curves")
    if not np.isfinite(run.curves[list(CURVES[1:])].to_numpy(dtype=float)).all():
        raise ValueError("the table of curves holds numbers that are not finite")
    if not run.has_exits:
        return
    if not run.record.points:
        raise ValueError("the record has early exits and no operating point")
    for policy, corners in run.hull_outcomes.items():
        if not np.array_equal(corners.sample_id, first.sample_id):
            raise ValueError(f"the corners of {policy!r} are of other samples than the outcomes")
        if corners.exit.min() < 0 or corners.exit.max() >= exits:
            raise ValueError(f"the corners of {policy!r} name an exit that the record does not have")
    if isinstance(first, ClassOutcomes):
        _check_answers(run, first, exits)


def _check_example(run: Run, example: Example, exits: int) -> None:
    """A figure looks up the exits and classes that an example names."""
    name, classes, last = (
        f"the example {example.sample_id}",
        run.record.data.classes,
        len(run.record.spec.train.token_exits),
    )
    if len(example.answers) != exits:
        raise ValueError(f"{name} has answers of {len(example.answers)} exits, and the record has {exits}")
    largest = max(example.answers.max(), example.label[example.label != IGNORED].max(initial=0))
    if largest >= classes:
        raise ValueError(f"{name} names the class {largest}, and the record has {classes}, from 0")
    if example.left is not None and example.left.max() > last:
        raise ValueError(f"{name} has a token that left at exit {example.left.max()}, and the last is {last}")


def _have_equal_labels(outcomes: PointOutcomes, first: PointOutcomes) -> bool:
    """Those of other tasks are in the evidence: counts that have been compared, or labelled boxes."""
    if isinstance(outcomes, ClassOutcomes) and isinstance(first, ClassOutcomes):
        return np.array_equal(outcomes.label, first.label)
    return True


def _check_answers(run: Run, first: ClassOutcomes, exits: int) -> None:
    if len(run.answers.prediction) != exits or not np.isin(first.sample_id, run.answers.sample_id).all():
        raise ValueError("the answers are of other exits or samples than the outcomes")
    labels = dict(zip(run.answers.sample_id.tolist(), run.answers.label.tolist(), strict=True))
    if [labels[sample] for sample in first.sample_id.tolist()] != first.label.tolist():
        raise ValueError("the answers have other labels than the outcomes")


def _check_columns(table: pd.DataFrame, texts: tuple[str, ...], numbers: tuple[str, ...], name: str) -> None:
    """Check that the columns exist and that ``numbers`` are numeric.

    Raises:
        ValueError: a column is missing or not numeric.
    """
    missing = [column for column in (*texts, *numbers) if column not in table]
    if missing:
        raise ValueError(f"the table of {name} has no column {', '.join(missing)}")
    textual = [column for column in numbers if not pd.api.types.is_numeric_dtype(table[column])]
    if textual:
        raise ValueError(f"the table of {name} holds no numbers in {', '.join(textual)}")


def check_equal(name: str, recorded: float, recomputed: float) -> None:
    """Check that a number of the record equals, but for rounding, the one that follows from its tables.

    Raises:
        ValueError: they differ.
    """
    difference = abs(float(recorded) - float(recomputed))
    if not difference <= TOLERANCE * max(1.0, abs(float(recomputed))):
        raise ValueError(f"{name} is {recorded:g} in the record and {recomputed:g} in its tables")
