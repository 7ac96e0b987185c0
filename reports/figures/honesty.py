"""Figure of the speed-up of one operating point in layers, in MACs and in time."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH

LONG = 28
MEANINGS = {
    "layer": ("layers", "o", "white"),
    "mac": ("MACs, heads counted", "s", "#0072B2"),
    "time": ("time", "D", "#D55E00"),
}


def honesty(rows: pd.DataFrame) -> Figure:
    """One row per method with its three speed-ups at one operating point.

    Args:
        rows: columns label, layer, mac and time (NaN if not measured), and optionally the ends of their intervals
            (layer_low, layer_high, ...).
    """
    is_wide = max(map(len, rows["label"])) > LONG
    size = (TEXT_WIDTH if is_wide else COLUMN_WIDTH, 0.75 + 0.24 * len(rows))
    with mpl.rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for y, (_, row) in enumerate(rows.iterrows()):
            for offset, (name, (text, marker, face)) in zip((-0.2, 0.0, 0.2), MEANINGS.items(), strict=True):
                if pd.isna(row[name]):
                    continue
                ends = [row.get(f"{name}_{end}", float("nan")) for end in ("low", "high")]
                if pd.notna(ends[0]):
                    axes.plot(ends, [y + offset] * 2, color="black", lw=0.8, zorder=2)
                axes.plot(
                    row[name], y + offset, marker, mfc=face, mec="black", mew=0.6, ms=4, ls="", label=text, zorder=3
                )
        axes.axvline(1, color="black", lw=0.8, ls=":")
        axes.set_yticks(range(len(rows)), list(rows["label"]), fontsize=6.5)
        for y in range(1, len(rows)):
            axes.axhline(y - 0.5, color="#dddddd", lw=0.5)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("speed-up")
        handles, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        figure.legend(list(unique.values()), list(unique), loc="outside upper center", ncols=3, handletextpad=0.2)
    return figure
