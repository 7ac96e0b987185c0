"""Tidy tables of operating points, of their means over seeds, and of paired comparisons."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from results.operating_point import OperatingPoint, Redrawn
from results.stats.speedups import layer_speedup, mac_speedup, official_swin_speedup
from results.stats.statistics import bounded_mean, detectable_difference, over_seeds
from results.store.devices import UNVERIFIED, is_unverified
from results.tables.pairing import paired
from results.tables.row_labels import labels
from results.tables.run import SETTING, STATIC, Run, is_ordered

REDRAWN = ("mac_redrawn_low", "mac_redrawn_high")


def points(runs: list[Run]) -> pd.DataFrame:
    """One row per run and operating point, on test.

    Columns: run_id, those of `SETTING`, method, label, seed, point, policy, kind, target, reached, accuracy with interval over
    test samples (low, high), drop against static in the same seed with paired interval (drop_low, drop_high), mean_block,
    layer_speedup and mac_speedup with intervals over test samples (layer_low, ...), the intervals of
    `results.operating_point.Redrawn` (drop_redrawn_low, layer_redrawn_low, ...), time_speedup (measured at batch size 1) on
    time_device, official_swin_speedup (only Swin; see `official_swin_speedup`). Accuracies (in segmentation
    mIoU) and drops are in [0, 1]. Missing values are NaN.
    """
    rows = []
    names = labels(runs)
    for run in runs:
        base: dict[str, object] = {"run_id": run.record.run_id, **dict(zip(SETTING, run.setting, strict=True))}
        base |= {"method": run.method, "seed": run.seed}
        if run.is_static:
            rows.append(base | {"label": STATIC} | _static_row(run))
        for point in run.record.points:
            rows.append(base | {"label": names[run.record.run_id, point.policy]} | _point_row(run, point))
    return pd.DataFrame(rows)


def _static_row(run: Run) -> dict[str, object]:
    values = run.values(STATIC)
    low, high = run.metric.interval(values)
    return {
        "point": STATIC, "policy": STATIC, "kind": STATIC, "target": 0.0, "reached": True,
        "accuracy": values.mean(), "low": low, "high": high, "drop": 0.0, "mean_block": float(run.record.depth),
        "layer_speedup": 1.0, "mac_speedup": 1.0, "time_speedup": 1.0, "time_device": "",
        "official_swin_speedup": np.nan,
    }  # fmt: skip


def _point_row(run: Run, point: OperatingPoint) -> dict[str, object]:
    row: dict[str, object] = {
        "point": point.name, "policy": point.policy, "kind": point.kind, "target": point.target,
        "reached": point.reached,
    }  # fmt: skip
    if point.test is None:
        return row
    costs = run.record.costs
    blocks = [exit_.block for exit_ in run.record.exits]
    values = run.values(point.name)
    # The lower end of a speed-up belongs to the upper end of its cost, and vice versa. A model with one exit has no interval:
    # its images cost the same, or, where tokens leave, only the mean of their costs is recorded.
    block_interval, macs_interval = (
        bounded_mean(run.mean_over_exits(point.name, np.array(price, dtype=np.float64)), min(price), max(price))
        if len(price) > 1
        else (np.nan, np.nan)
        for price in (blocks, costs.cumulative)
    )
    is_swin = run.record.backbone.family == "swin"
    drop = run.values(STATIC) - values  # `check_tables` has verified that the samples are the same
    low, high = run.metric.interval(values)
    drop_low, drop_high = run.metric.paired_interval(drop)
    return row | {
        "accuracy": values.mean(), "low": low, "high": high,
        "drop": drop.mean(), "drop_low": drop_low, "drop_high": drop_high,
        "mean_block": point.test.mean_block,
        "layer_speedup": layer_speedup(point.test.exit_shares, blocks, run.record.depth),
        "layer_low": run.record.depth / block_interval[1], "layer_high": run.record.depth / block_interval[0],
        "mac_speedup": mac_speedup(point.test.exit_shares, costs.cumulative, costs.baseline),
        "mac_low": costs.baseline / macs_interval[1], "mac_high": costs.baseline / macs_interval[0],
        "official_swin_speedup": official_swin_speedup(point.test.exit_shares, blocks) if is_swin else np.nan,
    } | _redrawn(run, point.redrawn) | _measured_speedup(run, point)  # fmt: skip


def _redrawn(run: Run, redrawn: Redrawn | None) -> dict[str, object]:
    """The intervals over val and test images; NaN where there are none, or all draws give the same value."""
    intervals = [(np.nan, np.nan)] * 3
    if redrawn:
        # A record divides the number of the last block, which is not the depth in a model that runs its blocks twice.
        low, high = (end * run.record.depth / run.record.exits[-1].block for end in redrawn.layer_speedup)
        intervals = [redrawn.drop, (low, high), redrawn.mac_speedup]
    row: dict[str, object] = {}
    for name, (low, high) in zip(("drop", "layer", "mac"), intervals, strict=True):
        row[f"{name}_redrawn_low"], row[f"{name}_redrawn_high"] = (low, high) if low < high else (np.nan, np.nan)
    return row


def _measured_speedup(run: Run, point: OperatingPoint) -> dict[str, object]:
    """The measured speed-up at batch 1; NaN without a measurement."""
    for latency in run.latencies:
        timing = latency.at(1)
        if latency.point == point.name and timing is not None:
            device = f"{latency.machine.name}, {latency.precision}"
            flag = f", {UNVERIFIED}" if is_unverified(latency.machine, run.device_checks) else ""
            return {"time_speedup": timing.speedup, "time_device": device + flag}
    return {"time_speedup": np.nan, "time_device": ""}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means of `points` over seeds.

    The column `interval` is the kind of the interval (low, high): over test samples if there is one seed, else the t interval
    over seeds, which is missing where all seeds have the same accuracy. With several seeds, the intervals over val and test
    images (mac_redrawn_low, ...) are missing. A seed counts once: of two runs with the same label and seed, the first by id.
    Times are means over the seeds that were timed, which `timed_seeds` names in the column of that name.
    """
    rows = []
    table = (
        table.sort_values("run_id", kind="stable").drop_duplicates([*SETTING, "label", "point", "seed"]).sort_index()
    )
    names = [*SETTING, "method", "label", "point", "policy", "kind", "target"]
    for keys, group in table.groupby(names, sort=False):
        row = dict(zip(names, keys, strict=True)) | {"seeds": len(group), "reached": bool(group["reached"].all())}
        for column in ("accuracy", "drop", "mean_block", "layer_speedup", "mac_speedup", "time_speedup"):
            row[column] = group[column].mean() if row["reached"] else np.nan
        row["timed_seeds"] = timed_seeds(group)
        if len(group) == 1:
            first = group.iloc[0]
            row |= {"interval": "test samples", **{name: first.get(name, np.nan) for name in ("low", "high", *REDRAWN)}}
        elif row["reached"]:
            low, high = over_seeds(group["accuracy"].tolist())
            row |= {"interval": "seeds", "low": low, "high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def timed_seeds(table: pd.DataFrame) -> str:
    """The seeds of some rows of `points` whose time was measured, such as "seed 0"; empty if all or none were timed."""
    timed = table.loc[table["time_device"].fillna("") != "", "seed"].unique()
    if len(timed) in (0, table["seed"].nunique()):
        return ""
    return f"seed{'' if len(timed) == 1 else 's'} {', '.join(map(str, sorted(timed)))}"


def comparisons(runs: list[Run]) -> pd.DataFrame:
    """Paired comparisons of methods and of the policies of one run, at each point that both reach.

    Two methods are compared under the same policy, or each under its own. Pairs have the same setting, seed and test samples.
    Columns: those of `SETTING`, seed, kind, target, first, second (labels), difference (accuracy of first minus second) with
    paired interval (low, high), detectable (the smallest difference that these samples can detect). At equal MACs also p
    (sign-flip test), not corrected for the number of pairs: `results.judge.family` decides which differences are
    significant.
    """
    names = labels(runs)
    groups: dict[tuple[object, ...], list[tuple[Run, str]]] = {}
    for run in runs:
        for policy in run.policies if run.has_exits else ():
            groups.setdefault((*run.setting, run.seed), []).append((run, policy))
    pairs = (pair for group in groups.values() for pair in combinations(group, 2))
    rows = []
    for (first, one), (second, other) in pairs:
        if not comparable(first, one, second, other):
            continue
        second_points = {(p.kind, p.target): p for p in second.record.points if p.reached and p.policy == other}
        for point in first.record.points:
            against = second_points.get((point.kind, point.target))
            if not point.reached or point.policy != one or against is None or point.kind == "fixed":
                continue
            difference = paired(first, point.name, second, against.name)
            if difference is None:
                continue
            low, high = first.metric.paired_interval(difference)
            rows.append(
                dict(zip([*SETTING, "seed"], (*first.setting, first.seed), strict=True))
                | {"kind": point.kind, "target": point.target}
                | {"first": names[first.record.run_id, one], "second": names[second.record.run_id, other]}
                | {"difference": difference.mean(), "low": low, "high": high}
                | {"detectable": detectable_difference(difference)}
                | {"p": first.metric.sign_flip(difference) if point.kind == "equal-macs" else np.nan}
            )
    columns = [*SETTING, "seed", "kind", "target", "first", "second", "difference", "low", "high", "detectable", "p"]
    return pd.DataFrame(rows, columns=columns)


def comparable(first: Run, one: str, second: Run, other: str) -> bool:
    """Whether two rows are compared: methods under the same policy, or each under that of its own paper, and the policies of
    one run; none whose decisions depend on earlier images (`is_ordered`)."""
    if is_ordered(one) or is_ordered(other):
        return False
    is_own = one == first.record.own_policy and other == second.record.own_policy
    return first.record.run_id == second.record.run_id or one == other or is_own
