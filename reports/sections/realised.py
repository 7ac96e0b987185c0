"""One operating point in layers, in MACs and in time."""

from __future__ import annotations

import pandas as pd

from reports.study import DROP, Setting
from reports.tables import times, timing
from reports.words import few, join
from results.stats.statistics import over_seeds
from results.tables.run import STATIC


def counted_three_ways(setting: Setting, table: pd.DataFrame) -> pd.DataFrame:
    """One row a method at `DROP`: label; layer, mac and time, the first two with the ends of 95 % intervals (layer_low, ...).

    Over seeds where there are several, else over test images; time has none, but a device (time_device).
    """
    mine = table[table["run_id"].isin({run.record.run_id for run in setting.exiting})]
    mine = mine[(mine["kind"] == DROP[0]) & (mine["target"] == DROP[1]) & mine["reached"]]
    names = [setting.named.get(key, "") for key in zip(mine["run_id"], mine["policy"], strict=True)]
    rows = []
    for label, group in mine.assign(label=names).groupby("label", sort=False):
        if not label or label == STATIC:
            continue
        row: dict[str, object] = {"label": label, "time": group["time_speedup"].mean()}
        row["time_device"] = next((device for device in group["time_device"].dropna() if device), "")
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
    columns = ["label", "layer", "layer_low", "layer_high", "mac", "mac_low", "mac_high", "time", "time_device"]
    return pd.DataFrame(rows, columns=columns)


def realised(rows: pd.DataFrame) -> list[str]:
    """What is left of the paper's speed-up when heads are counted, and when time is measured."""
    fast, slow = rows[(rows["layer"] > 1) & (rows["mac"] >= 1)], rows[(rows["layer"] > 1) & (rows["mac"] < 1)]
    kept = fast.assign(kept=(fast["mac"] - 1) / (fast["layer"] - 1)).sort_values("kept", kind="stable")
    sentences = []
    if not kept.empty:
        ends = [kept.iloc[i] for i in dict.fromkeys((0, len(kept) - 1))]
        parts = [f"{row['label']} {times(row['layer'])} in layers, {times(row['mac'])} in MACs" for row in ends]
        share = " to ".join(dict.fromkeys(f"{100 * row['kept']:.0f}" for row in ends))
        sentences.append(
            f"Of what the count in layers promises beyond 1, the count in MACs keeps {share} % ({join(parts, ';')})."
        )
    if not slow.empty:
        parts = [f"{row['label']} ({times(row['mac'])}, in layers {times(row['layer'])})" for _, row in slow.iterrows()]
        sentences.append(f"Counted in MACs, slower than the backbone without exits: {few(parts)}.")
    timed = rows[rows["time"].notna()]
    if not timed.empty:
        parts = [
            f"{row['label']} {times(row['time'])} where MACs say {times(row['mac'])}" for _, row in timed.iterrows()
        ]
        device = timing(rows).replace("Time: measured", "Measured").rstrip(". ") + ": "
        sentences.append(f"{device}{few(parts)}.")
    return sentences
