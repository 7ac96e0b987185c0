"""Spreads many methods over small panels with the same axes; a reference method is in each, and each has a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH

ONE_PANEL = 6
"""Largest number of methods in one panel."""
MAX_COLUMNS = 3
MOST = 60
"""Largest number of methods in a figure; the tables contain all."""
BELOW = 4.6
"""Distance from the axes to the legend, with room for the axis label; in units of the legend's font size."""
SHORT = 21
"""Names with at most this many characters are in two columns of a legend."""


def spread(names: Sequence[str], reference: str | None) -> list[list[str]]:
    """The names of each panel; the reference, if any, is in every panel."""
    if len(names) <= ONE_PANEL:
        return [list(names)]
    first = [reference] if reference is not None and reference in names else []
    others = [name for name in names if name not in first]
    room = ONE_PANEL - len(first)
    # Panels of nearly equal size, so that the last one is not almost empty.
    count = -(-len(others) // room)
    size = -(-len(others) // count)
    return [[*first, *others[i : i + size]] for i in range(0, len(others), size)]


def panel_figure(panels: Sequence[Sequence[str]], height: float) -> tuple[Figure, list[Axes]]:
    """A figure with one axes per panel; ``height`` is that of an axes in inches, without its legend."""
    columns = min(len(panels), MAX_COLUMNS)
    rows = -(-len(panels) // columns)
    width = TEXT_WIDTH if columns > 1 else COLUMN_WIDTH
    entries = max(_lines(names, columns) for names in panels) + 1
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, rows * (height + 0.14 * entries)), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    cells = list(grid.flat)
    for empty in cells[len(panels) :]:
        empty.remove()
        empty.set_visible(False)
    for index, axes in enumerate(cells[: len(panels)]):
        axes.tick_params(labelbottom=True, labelleft=index % columns == 0)
    return figure, cells[: len(panels)]


def legend_below(axes: Axes, *, columns: int) -> None:
    """A legend below the axes, with one entry per name; long names are wrapped.

    Args:
        axes: of a panel.
        columns: number of panels side by side.
    """
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    legend_columns = _legend_columns(list(unique), columns)
    axes.legend(
        list(unique.values()), [_wrapped(name, columns) for name in unique], ncols=legend_columns, loc="upper center",
        fontsize=6.5, bbox_to_anchor=(0.5, 0.0), handlelength=2.4, columnspacing=1.0, labelspacing=0.3, borderaxespad=BELOW,
    )  # fmt: skip


def _legend_columns(names: Sequence[str], columns: int) -> int:
    widest = max(map(len, names), default=0)
    return 2 if widest <= (SHORT if columns == 1 else SHORT // 2 + 1) else 1


def _wrapped(name: str, columns: int) -> str:
    return fill(name, 48 if columns == 1 else 36, subsequent_indent="  ")


def _lines(names: Sequence[str], columns: int) -> int:
    """Lines of a legend that also lists the backbone without exits and two kinds of smaller models."""
    shown = [_wrapped(name, columns) for name in names]
    return sum(name.count("\n") + 1 for name in shown) // _legend_columns(names, columns) + 2
