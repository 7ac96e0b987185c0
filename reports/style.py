"""One look for every figure: fixed colour, marker and line per method, readable in grey and with any colour vision."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
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
_SPARE = [
    Look("#E69F00", "v", (6, 1)),
    Look("#56B4E9", "P", (2, 2)),
    Look("#7F7F7F", "X", (5, 1, 1, 1, 1, 1)),
    Look("#A6761D", "<", (1, 2)),
    Look("#8C2D04", ">", (8, 2)),
]


def looks(methods: list[str]) -> dict[str, Look]:
    """The look of every method; names without a fixed one take the spare ones in alphabetical order."""
    others = sorted(set(methods) - _FIXED.keys())
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(others)}
    return {name: (_FIXED | spare)[name] for name in methods}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in the house style, of a size in inches."""
    with mpl.rc_context(RC):
        return Figure(figsize=(width, height), layout="constrained")


def save_pdf(figure: Figure, path: Any) -> None:
    """Write a figure; the same figure gives the same bytes."""
    with mpl.rc_context(RC):
        figure.savefig(path, metadata={"CreationDate": None})
