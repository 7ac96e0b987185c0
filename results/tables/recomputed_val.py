"""Recomputation of a record's val numbers from its curves, which hold every setting on val, and from its number of val images.

The tables have no outcomes of single val images, so `docs/statistics.md` lists what remains unchecked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.operating_point import Measured, OperatingPoint, Redrawn
from results.record import DoneRecord
from results.stats.curves import cheapest_within_drop, enclosing_settings
from results.tables.run import Run
from results.tables.table_validation import check_equal


def check_val_numbers(run: Run) -> None:
    """Compare the val numbers of a record, and the choice of its thresholds, with the val rows of its curves.

    Raises:
        ValueError: a number differs; the message names it and both values.
    """
    record = run.record
    images = record.data.sizes["val"]
    shares = {f"the val accuracy of exit {number}": exit_.val_accuracy for number, exit_ in enumerate(record.exits, 1)}
    if run.is_classification:  # an mIoU or AP is no share of the images
        for name, share in {"static_accuracy.val": record.static_accuracy.val, **shares}.items():
            _check_share(name, share, images)
    curves = {str(policy): _ValCurve.of(rows) for policy, rows in run.curves.groupby("policy", observed=True)}
    for point in record.points:
        if point.policy not in curves:
            raise ValueError(f"the curves lack the policy {point.policy!r}")
        _check_choice(record, point, curves[point.policy])
        if point.redrawn is not None:
            _check_redrawn(record, point.name, point.redrawn)


@dataclass(frozen=True)
class _ValCurve:
    """All T settings of a policy on val, in the order of the sweep; accuracy, mean MACs and mean block are [T]."""

    threshold: np.ndarray
    accuracy: np.ndarray
    macs: np.ndarray
    block: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _ValCurve:
        rows = rows[rows["split"] == "val"]
        columns = ("threshold", "accuracy", "mean_macs", "mean_block")
        return cls(*(rows[column].to_numpy(dtype=np.float64) for column in columns))

    def choose(self, record: DoneRecord, point: OperatingPoint) -> list[tuple[int, float]]:
        """The settings of a point on val as (index, weight) pairs; empty if none meets the target."""
        if point.kind == "equal-macs":
            return enclosing_settings(self.macs, point.target * record.costs.baseline)
        if point.kind == "fixed":
            return [(t, 1.0) for t in np.flatnonzero(self.threshold == point.target)[:1].tolist()]
        t = cheapest_within_drop(self.accuracy, self.macs, record.static_accuracy.val, point.target)
        return [] if t is None else [(t, 1.0)]


def _check_choice(record: DoneRecord, point: OperatingPoint, curve: _ValCurve) -> None:
    mixture = curve.choose(record, point)
    if point.val is None:
        if mixture and point.kind != "equal-macs":  # a budget may also be out of reach on test
            raise ValueError(f"the point {point.name!r} has no setting, and one on val meets its target")
        return
    if not mixture:
        raise ValueError(f"the point {point.name!r} has a setting, and none on val meets its target")
    indices = [t for t, _ in mixture]
    weights = np.array([weight for _, weight in mixture])
    if point.kind != "equal-macs":  # there, the settings are those whose costs on test enclose the budget
        chosen = float(curve.threshold[indices[0]])
        if [setting.threshold for setting in point.settings] != [chosen]:
            raise ValueError(f"the threshold of {point.name!r} is not the one that its curve on val gives, {chosen:g}")
    for quantity, recorded, values in (
        ("accuracy", point.val.accuracy, curve.accuracy),
        ("mean MACs", point.val.mean_macs, curve.macs),
        ("mean block", point.val.mean_block, curve.block),
    ):
        check_equal(f"the {quantity} on val at {point.name!r}", recorded, float(weights @ values[indices]))
    _check_exit_shares(record, point.name, point.val)


def _check_exit_shares(record: DoneRecord, name: str, val: Measured) -> None:
    """The curves have no exit shares on val, but the shares must give the mean MACs and the mean block."""
    if len(val.exit_shares) != len(record.exits):
        raise ValueError(f"the exit shares on val at {name!r} do not fit the exits")
    blocks = [exit_.block for exit_ in record.exits]
    for quantity, recorded, at_exit in (
        ("MACs", val.mean_macs, record.costs.cumulative),
        ("block", val.mean_block, blocks),
    ):
        mean = float(np.array(val.exit_shares) @ np.array(at_exit, dtype=np.float64))
        check_equal(f"the mean {quantity} on val at {name!r}, beside its exit shares,", recorded, mean)


def _check_redrawn(record: DoneRecord, name: str, redrawn: Redrawn) -> None:
    """The draws are not stored, but no draw can be faster than all images at the first exit, or slower than none."""
    blocks, costs = [exit_.block for exit_ in record.exits], record.costs
    for quantity, (low, high), speedups in (
        ("layer_speedup", redrawn.layer_speedup, [blocks[-1] / block for block in blocks]),
        ("mac_speedup", redrawn.mac_speedup, [costs.baseline / macs for macs in costs.cumulative]),
    ):
        if low < min(speedups) * (1 - 1e-6) or high > max(speedups) * (1 + 1e-6):
            raise ValueError(
                f"redrawn.{quantity} of {name!r} is {low:g} to {high:g}, and the exits allow {min(speedups):g} to "
                f"{max(speedups):g}"
            )


def _check_share(name: str, share: float, images: int) -> None:
    """A share of n images is a multiple of 1/n."""
    if images == 0:
        raise ValueError(f"{name} is {share:g} in the record, and data.sizes.val is 0")
    check_equal(f"{name} of {images:,} images", share, round(share * images) / images)
