"""Any number of methods in one figure: small panels with the same axes, LGViT in each of them, a legend below each."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH

ONE_PANEL = 6
"""So many methods share a panel; more are spread."""
ACROSS = 3
MOST = 60
"""Methods that a figure shows; the tables have all."""
BELOW = 4.6
"""From the axes down to the legend, past the axis and its name, in units of the legend's font."""
SHORT = 21
"""Characters of a name, two of which stand side by side in a legend."""


def spread(names: Sequence[str], reference: str | None) -> list[list[str]]:
    """The names by panel; the reference, where there is one, is in each."""
    if len(names) <= ONE_PANEL:
        return [list(names)]
    first = [reference] if reference is not None and reference in names else []
    others = [name for name in names if name not in first]
    room = ONE_PANEL - len(first)
    # Panels of equal size, not the last one with a single line.
    count = -(-len(others) // room)
    size = -(-len(others) // count)
    return [[*first, *others[i : i + size]] for i in range(0, len(others), size)]


def panel_figure(panels: Sequence[Sequence[str]], height: float) -> tuple[Figure, list[Axes]]:
    """A figure with an axes a panel; heights in inches are of the axes, the legends come on top."""
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    width = TEXT_WIDTH if across > 1 else COLUMN_WIDTH
    entries = max(_lines(names, across) for names in panels) + 1
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, down * (height + 0.14 * entries)), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    cells = list(grid.flat)
    for empty in cells[len(panels) :]:
        empty.remove()
        empty.set_visible(False)
    for index, axes in enumerate(cells[: len(panels)]):
        axes.tick_params(labelbottom=True, labelleft=index % across == 0)
    return figure, cells[: len(panels)]


def legend_below(axes: Axes, *, across: int) -> None:
    """One entry a name, below the axes, so that it covers nothing; long names are broken."""
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    columns = _columns(list(unique), across)
    axes.legend(
        list(unique.values()), [_broken(name, across) for name in unique], loc="upper center", ncols=columns, fontsize=6.5,
        bbox_to_anchor=(0.5, 0.0), handlelength=2.4, columnspacing=1.0, labelspacing=0.3, borderaxespad=BELOW,
    )  # fmt: skip


def _columns(names: Sequence[str], across: int) -> int:
    widest = max(map(len, names), default=0)
    return 2 if widest <= (SHORT if across == 1 else SHORT // 2 + 1) else 1


def _broken(name: str, across: int) -> str:
    return fill(name, 48 if across == 1 else 36, subsequent_indent="  ")


def _lines(names: Sequence[str], across: int) -> int:
    """Of a legend that also names the backbone without exits and two kinds of smaller models."""
    shown = [_broken(name, across) for name in names]
    return sum(name.count("\n") + 1 for name in shown) // _columns(names, across) + 2
