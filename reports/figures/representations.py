"""Figure of what the blocks of backbones represent: four small panels over the blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.style import RC, TEXT_WIDTH, legend_label

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MOST = len(COLORS)
"""Largest number of backbones; the tables contain all."""
PANELS: tuple[tuple[str, Sequence[tuple[str, str, float]]], ...] = (
    ("probe accuracy on test (%)", (("probe", "-", 100), ("nearest_mean", ":", 100))),
    ("CKA with the last block", (("cka_class", "-", 1), ("cka_mean", ":", 1))),
    ("attention distance (pixels)", (("distance", "-", 1), ("uniform", ":", 1))),
    ("high frequencies (share)", (("high", "-", 1), ("noise", ":", 1))),
)
"""Title of each panel, and its lines: column, style and factor."""


def representations(blocks: Mapping[str, pd.DataFrame]) -> Figure:
    """Four panels, with one color per backbone.

    Args:
        blocks: name of a backbone to the table of `reports.sections.representations.by_block`.
    """
    shown = dict(list(blocks.items())[:MOST])
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, 1.85 + 0.15 * (len(shown) > 1)), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            axes.set_title(title)
            axes.set_xlabel("block")
            for color, (name, table) in zip(COLORS, shown.items(), strict=False):
                for column, style, factor in lines:
                    _line(axes, table, column, style, factor, color, legend_label(name))
                if title.startswith("attention"):
                    _heads(axes, table, color)
            if not axes.has_data():
                axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
        if len(shown) > 1:
            handles = [Line2D([], [], color=color, marker="o", ms=2.5, lw=1.0) for color in COLORS[: len(shown)]]
            figure.legend(
                handles, [legend_label(name) for name in shown], loc="outside lower center", ncols=3, fontsize=6.5
            )
    return figure


def _line(axes: Axes, table: pd.DataFrame, column: str, style: str, factor: float, color: str, label: str) -> None:
    values = table[column].dropna() * factor
    if len(values):
        marker = "o" if style == "-" else ""
        axes.plot(values.index, values, style, color=color, marker=marker, ms=2.5, lw=1.0, label=label)


def _heads(axes: Axes, table: pd.DataFrame, color: str) -> None:
    """The range over the attention heads of each block."""
    known = table.dropna(subset=["distance_low"])
    if len(known):
        axes.fill_between(known.index, known["distance_low"], known["distance_high"], color=color, alpha=0.2, lw=0)
