"""Two metrics of the same methods over MACs, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.line_labels import Label, label_starts
from reports.figures.speed_accuracy import COST
from reports.style import RC, TEXT_WIDTH, Look

HEIGHT = 1.9


def two_metrics(
    rows: pd.DataFrame,
    static: pd.Series,
    columns: Mapping[str, str],
    looks: Mapping[str, Look],
    display: Mapping[str, str],
) -> Figure:
    """One panel per metric, one line per method.

    Args:
        rows: columns label, macs (as a share of the backbone without exits) and those of ``columns``, as shares.
        static: the backbone without exits in the same columns.
        columns: to the labels of the axes.
        looks: by label.
        display: names by label.
    """
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, HEIGHT), layout="constrained")
        for axes, (column, text) in zip(figure.subplots(1, len(columns)), columns.items(), strict=True):
            labels = []
            for label, line in rows.groupby("label", sort=False):
                look, values = looks[str(label)], 100 * line[column]
                axes.plot(
                    line["macs"], values, color=look.color, marker=look.marker, ms=3,
                    dashes=look.line if look.line != (1, 0) else (None, None),
                )  # fmt: skip
                labels.append(Label(display[str(label)], (line["macs"].iloc[0], values.iloc[0]), look.color))
            axes.axhline(100 * static[column], color="black", lw=0.7, ls=":")
            axes.set_xlim(*axes.get_xlim())
            axes.set_ylim(*axes.get_ylim())
            label_starts(axes, labels, HEIGHT - 0.45, TEXT_WIDTH / len(columns) - 0.5)
            axes.set(xlabel=COST, ylabel=text)
    return figure
