"""Recomputation of the numbers of a record from the tables beside it. A difference means that one of them was edited."""

from __future__ import annotations

import numpy as np

from results.operating_point import Measured, OperatingPoint
from results.record import DoneRecord
from results.tables.outcomes import ClassOutcomes
from results.tables.recomputed_val import check_val_numbers
from results.tables.run import STATIC, Run
from results.tables.table_validation import check_equal


def check_numbers(run: Run) -> None:
    """Compare each number of the record that follows from its tables, which have passed `check_tables`.

    Raises:
        ValueError: a number differs; the message names it and both values.
    """
    record = run.record
    _check_costs(record)
    static = run.point_outcomes[STATIC]
    check_equal("static_accuracy.test", record.static_accuracy.test, static.metric)
    check_equal("data.sizes.test", record.data.sizes["test"], len(static.sample_id))
    if isinstance(static, ClassOutcomes) and not 0 <= static.label.min() <= static.label.max() < record.data.classes:
        raise ValueError(f"the outcomes have labels outside the {record.data.classes} classes of the record")
    if run.has_exits:
        for number, (exit_, recomputed) in enumerate(zip(record.exits, run.at_exits, strict=True), start=1):
            check_equal(f"the test {run.metric.name} of exit {number}", exit_.test_accuracy, recomputed)
    at_threshold = _test_curves(run)
    for point in record.points:
        if point.test is not None:
            _check_point(run, point, point.test)
            _check_curve(point, at_threshold)
    check_val_numbers(run)


def _check_costs(record: DoneRecord) -> None:
    costs, early = record.costs, record.spec.train.exits
    blocks = [*early, len(costs.blocks)]
    if early:
        for number, (exit_, block) in enumerate(zip(record.exits, blocks, strict=True), start=1):
            check_equal(f"the block of exit {number}", exit_.block, block)
    for number, (cumulative, block) in enumerate(zip(costs.cumulative, blocks, strict=True), start=1):
        macs = costs.stem + sum(costs.blocks[:block]) + sum(costs.heads[:number])
        if cumulative != macs:
            raise ValueError(f"costs.cumulative of exit {number} is {cumulative:,}, and its parts add up to {macs:,}")
    whole = costs.stem + sum(costs.blocks) + costs.heads[-1]
    is_whole = len(costs.blocks) == costs.depth and not costs.reduced_tokens
    if early and is_whole and not record.is_external and costs.baseline != whole:
        raise ValueError(f"costs.baseline is {costs.baseline:,}, and the parts of the backbone add up to {whole:,}")


def _check_point(run: Run, point: OperatingPoint, test: Measured) -> None:
    record, outcomes = run.record, run.point_outcomes[point.name]
    weights = [setting.weight for setting in sorted(point.settings, key=lambda setting: setting.threshold)]
    if len(weights) != len(outcomes.weight):
        raise ValueError(
            f"the point {point.name!r} has {len(weights)} settings in the record and {len(outcomes.weight)} in the outcomes"
        )
    for weight, recomputed in zip(weights, outcomes.weight, strict=True):
        check_equal(f"a weight of {point.name!r}", weight, recomputed)
    exits = len(record.exits)
    shares = outcomes.weight @ np.stack([np.bincount(exit_taken, minlength=exits) for exit_taken in outcomes.exit])
    shares = shares / len(outcomes.sample_id)
    blocks = [exit_.block for exit_ in record.exits]
    for number, (share, recomputed) in enumerate(zip(test.exit_shares, shares, strict=True), start=1):
        check_equal(f"the share of exit {number} at {point.name!r}", share, recomputed)
    check_equal(f"the {run.metric.name} at {point.name!r}", test.accuracy, outcomes.metric)
    check_equal(
        f"the mean MACs at {point.name!r}", test.mean_macs, shares @ np.array(record.costs.cumulative, dtype=float)
    )
    check_equal(f"the mean block at {point.name!r}", test.mean_block, shares @ np.array(blocks, dtype=float))


def _test_curves(run: Run) -> dict[tuple[str, float], tuple[float, float]]:
    """Accuracy and mean MACs on test, by policy and threshold."""
    rows = run.curves[run.curves["split"] == "test"]
    columns = (rows[name].tolist() for name in ("policy", "threshold", "accuracy", "mean_macs"))
    return {(policy, threshold): (accuracy, macs) for policy, threshold, accuracy, macs in zip(*columns, strict=True)}


def _check_curve(point: OperatingPoint, curve: dict[tuple[str, float], tuple[float, float]]) -> None:
    assert point.test is not None
    values = [curve.get((point.policy, setting.threshold)) for setting in point.settings]
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return  # the curve has no row for a setting
    weights = np.array([setting.weight for setting in point.settings])
    accuracy, macs = weights @ np.array(present)
    check_equal(f"the accuracy at {point.name!r}, on the curve", point.test.accuracy, accuracy)
    check_equal(f"the mean MACs at {point.name!r}, on the curve", point.test.mean_macs, macs)
