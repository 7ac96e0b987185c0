"""Figure of the accuracy on train over the epochs of short trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.style import COLUMN_WIDTH, RC, legend_label

BACKBONE = "black"
WRAP = 24
"""Characters in one line of a name."""


def learning_curves(curves: Mapping[str, tuple[Sequence[float], str]], measured: str) -> Figure:
    """One line per training.

    Args:
        curves: name to the accuracy of each epoch, in [0, 1], and the color.
        measured: name of these accuracies.
    """
    with mpl.rc_context(RC):
        figure = Figure(figsize=(COLUMN_WIDTH, 1.7), layout="constrained")
        axes = figure.subplots()
        for name, (accuracies, color) in curves.items():
            shares = [100 * share for share in accuracies]
            axes.plot(
                range(1, len(shares) + 1), shares, color=color, marker="o", ms=2.5, label=fill(legend_label(name), WRAP)
            )
        axes.set(xlabel="epoch", ylabel=f"train {measured} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6.5)
    return figure
