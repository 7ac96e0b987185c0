"""Figure of one method after another over several placements of its exits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, Look, legend_label


def placement(
    rows: pd.DataFrame,
    placements: Sequence[str],
    looks: Mapping[str, Look],
    names: Mapping[str, str],
    metric: str,
    *,
    ordered: bool,
) -> Figure:
    """Accuracy at half of the MACs above, speed-up in MACs with at most 1 point lost on val below.

    Args:
        rows: label, placement, accuracy with low and high in %, and mac_speedup; NaN where a point is not reached.
        placements: in the order of the x axis.
        looks: of the labels.
        names: of the labels.
        metric: its name.
        ordered: whether lines join the placements of a method.
    """
    labels = list(dict.fromkeys(rows["label"]))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(COLUMN_WIDTH, 2.9 + 0.12 * (len(labels) // 2)), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
        for number, label in enumerate(labels):
            table = rows[rows["label"] == label].set_index("placement").reindex(placements)
            look, x = looks[label], np.arange(len(placements)) + 0.1 * (number - (len(labels) - 1) / 2)
            above.vlines(x, table["low"], table["high"], color=look.color, lw=0.8)
            for axes, column in ((above, "accuracy"), (below, "mac_speedup")):
                (line,) = axes.plot(
                    x, table[column], color=look.color, marker=look.marker, ms=3.5, lw=0.9 if ordered else 0,
                    label=legend_label(names[label]),
                )  # fmt: skip
                if look.line != (1, 0):
                    line.set_dashes(look.line)
        above.set_ylabel(f"{metric} (%)\nat half of the MACs")
        below.set_ylabel("speed-up in MACs,\n≤ 1 point lost on val")
        below.set_xticks(range(len(placements)), [fill(name, 14) for name in placements])
        below.set_xlim(-0.4, len(placements) - 0.6)
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6.5)
    return figure
