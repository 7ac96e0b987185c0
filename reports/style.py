"""One look for every figure: fixed colour, marker and line per method, readable in grey and with any colour vision."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN_WIDTH = 3.4
"""Inches; a figure of the whole text width is twice that."""

RC: Any = {
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.dpi": 150,
    "font.size": 8,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


class Look(NamedTuple):
    colour: str
    marker: str
    line: Any


# Okabe and Ito's colours.
_FIXED = {
    "static": Look("#000000", "*", (1, 0)),
    "lgvit": Look("#D55E00", "o", (1, 0)),
    "vanilla": Look("#0072B2", "s", (4, 1.5)),
    "homogeneous-local": Look("#009E73", "^", (1, 1)),
    "homogeneous-global": Look("#CC79A7", "D", (3, 1, 1, 1)),
}
_SPARE_COLOURS = ["#E69F00", "#56B4E9", "#7F7F7F", "#A6761D", "#8C2D04", "#1B7837", "#762A83", "#000000"]
_SPARE_MARKERS = ["v", "P", "X", "<", ">", "h", "d", "p", "8", "H"]
_SPARE_LINES = [(6, 1), (2, 2), (5, 1, 1, 1, 1, 1), (1, 2), (8, 2)]
_SPARE = [
    Look(colour, _SPARE_MARKERS[i % len(_SPARE_MARKERS)], line)
    for i, (line, colour) in enumerate((line, colour) for line in _SPARE_LINES for colour in _SPARE_COLOURS)
]
MANY = 6
"""More entries than this put a legend below the axes."""


def looks(methods: list[str]) -> dict[str, Look]:
    """The look of every method; names without a fixed one take the spare ones in alphabetical order."""
    others = sorted(set(methods) - _FIXED.keys())
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(others)}
    return {name: (_FIXED | spare)[name] for name in methods}


def new_figure(width: float, height: float, entries: int = 0) -> Figure:
    """An empty figure in the house style, of a size in inches; taller where a legend of many entries goes below."""
    extra = 0.15 * -(-entries // 2) if entries > MANY else 0.0
    with mpl.rc_context(RC):
        return Figure(figsize=(width, height + extra), layout="constrained")


def add_legend(axes: Axes, loc: str) -> None:
    """One entry a name: inside the axes while there are few, below them when there are many."""
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    automatic = axes.get_legend()
    if automatic is not None:
        automatic.remove()
    place: dict[str, Any] = {"loc": loc} if len(unique) <= MANY else {"loc": "outside lower center", "ncols": 2}
    owner: Any = axes if len(unique) <= MANY else axes.figure
    owner.legend(unique.values(), unique.keys(), handlelength=2.6, **place)


def save_pdf(figure: Figure, path: Any) -> None:
    """Write a figure; the same figure gives the same bytes."""
    with mpl.rc_context(RC):
        figure.savefig(path, metadata={"CreationDate": None})
