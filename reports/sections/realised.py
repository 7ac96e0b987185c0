"""One operating point in layers, in MACs and in time."""

from __future__ import annotations

import pandas as pd

from reports.comparison_group import DROP, ComparisonGroup
from reports.tables import times, timing
from reports.words import few, join
from results.stats.statistics import over_seeds
from results.tables.points import timed_seeds
from results.tables.run import STATIC

MANY = 3
"""With more methods, only the least and the largest speed-up in time are stated."""
LEAST = 1.2
"""Of a smaller speed-up in layers no share is stated: it would be a quotient of two small numbers."""


def counted_three_ways(setting: ComparisonGroup, table: pd.DataFrame) -> pd.DataFrame:
    """One row per method at `DROP`: label; layer, mac and time; the ends of 95 % intervals of the first two (layer_low, ...).

    Intervals are over seeds where there are several, else over test images. Time has no interval, but a device (time_device);
    mac_timed is the speed-up in MACs of the seeds that were timed, which timed_seeds names if they are not all.
    """
    rows_at_drop = table[table["run_id"].isin({run.record.run_id for run in setting.exiting})]
    rows_at_drop = rows_at_drop[
        (rows_at_drop["kind"] == DROP[0]) & (rows_at_drop["target"] == DROP[1]) & rows_at_drop["reached"]
    ]
    names = [setting.labels.get(key, "") for key in zip(rows_at_drop["run_id"], rows_at_drop["policy"], strict=True)]
    rows = []
    for label, group in rows_at_drop.assign(label=names).groupby("label", sort=False):
        if not label or label == STATIC:
            continue
        row: dict[str, object] = {"label": label, "time": group["time_speedup"].mean()}
        row["time_device"] = next((device for device in group["time_device"].dropna() if device), "")
        row["mac_timed"] = group.loc[group["time_speedup"].notna(), "mac_speedup"].mean()
        row["timed_seeds"] = timed_seeds(group)
        for name in ("layer", "mac"):
            values = group[f"{name}_speedup"].to_numpy()
            row[name] = values.mean()
            ends = (
                over_seeds(values.tolist())
                if len(values) > 1
                else tuple(group.iloc[0][[f"{name}_low", f"{name}_high"]])
            )
            row[f"{name}_low"], row[f"{name}_high"] = ends
        rows.append(row)
    columns = [
        "label", "layer", "layer_low", "layer_high", "mac", "mac_low", "mac_high", "time", "time_device", "mac_timed",
        "timed_seeds",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def realised(rows: pd.DataFrame) -> list[str]:
    """How much of the speed-up in layers remains when heads are counted, and when time is measured."""
    fast, slow = rows[(rows["layer"] >= LEAST) & (rows["mac"] >= 1)], rows[(rows["layer"] > 1) & (rows["mac"] < 1)]
    by_share = fast.assign(remaining=(fast["mac"] - 1) / (fast["layer"] - 1)).sort_values("remaining", kind="stable")
    sentences = []
    if not by_share.empty:
        ends = [by_share.iloc[i] for i in dict.fromkeys((0, len(by_share) - 1))]
        parts = [f"{row['label']} {times(row['layer'])} in layers, {times(row['mac'])} in MACs" for row in ends]
        share = " to ".join(dict.fromkeys(f"{100 * row['remaining']:.0f}" for row in ends))
        where = "" if (rows["layer"] >= LEAST).all() else f", where it is at least {LEAST:g}×"
        sentences.append(f"Of the speed-up in layers beyond 1{where}, {share} % remain in MACs ({'; '.join(parts)}).")
    if not slow.empty:
        parts = [f"{row['label']} ({times(row['mac'])}, in layers {times(row['layer'])})" for _, row in slow.iterrows()]
        sentences.append(f"Costlier in MACs than the backbone without exits: {few(parts)}.")
    timed = rows[rows["time"].notna()]
    if not timed.empty:
        by_time = timed.sort_values("time", kind="stable")
        chosen = timed if len(timed) <= MANY else by_time.iloc[[0, -1]]
        parts = [
            f"{times(row['time'])} ({row['label']}, {times(row['mac_timed'])} in MACs)" for _, row in chosen.iterrows()
        ]
        device = timing(rows).replace("Time: measured", "Measured").rstrip(". ")
        found = join(parts) if len(timed) <= MANY else f"between {join(parts)}"
        sentences.append(f"{device}, the speed-up in time is {found}.")
    return sentences
