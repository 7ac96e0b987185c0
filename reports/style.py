"""The style of all figures: a fixed color, marker and line per method, readable in grey and with color blindness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.fonts import drawable
from results.record import MethodInfo

COLUMN_WIDTH = 3.4
TEXT_WIDTH = 7.0
"""Both in inches."""

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
    "svg.fonttype": "none",
    "text.parse_math": False,  # text of records may contain dollar signs
    "svg.hashsalt": "lgvit-bench",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


class Look(NamedTuple):
    """Color, marker and dash pattern of a curve."""

    color: str
    marker: str
    line: Any


_SPARE_COLORS = ["#E69F00", "#56B4E9", "#7F7F7F", "#A6761D", "#8C2D04", "#B3446C", "#762A83", "#000000"]
_SPARE_MARKERS = ["v", "P", "X", "<", ">", "d", "s", "^", "D"]
_SPARE_LINES = [(6, 1), (2, 2), (5, 1, 1, 1, 1, 1), (1, 2), (8, 2)]
_SPARE = [
    Look(color, _SPARE_MARKERS[i % len(_SPARE_MARKERS)], line)
    for i, (line, color) in enumerate((line, color) for line in _SPARE_LINES for color in _SPARE_COLORS)
]


def looks(methods: Mapping[str, MethodInfo | None]) -> dict[str, Look]:
    """The look of every row label.

    A label has the look that its method is registered with, if it is the only label of that method. All others take a spare
    look, chosen by a checksum of the label: if possible one whose color and marker are both unused.

    Args:
        methods: label to the method of its row; None for a row that is of a method with changed options.
    """
    counts: dict[str, int] = {}
    for method in methods.values():
        if method is not None:
            counts[method.name] = counts.get(method.name, 0) + 1
    chosen = {
        label: Look(method.color, method.marker, method.dashes)
        for label, method in methods.items()
        if method is not None and method.color and method.marker and counts[method.name] == 1
    }
    for label in sorted(methods.keys() - chosen.keys()):
        start = crc32(label.encode()) % len(_SPARE)
        candidates = [*_SPARE[start:], *_SPARE[:start]]
        colors, markers = ({look[i] for look in chosen.values()} for i in (0, 1))
        distinct = (look for look in candidates if look.color not in colors and look.marker not in markers)
        unused = (look for look in candidates if look not in chosen.values())
        chosen[label] = next(distinct, None) or next(unused, None) or candidates[0]
    return chosen


def class_colors(count: int) -> list[tuple[float, float, float]]:
    """A color for each class in a picture; up to ten can be told apart."""
    return list(sns.color_palette("tab10", count) if count <= 10 else sns.husl_palette(count, s=0.9, l=0.6))


def legend_label(name: str) -> str:
    """A name as a legend shows it: matplotlib leaves out names that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


def is_wide(figure: Figure) -> bool:
    """Whether a figure takes both columns."""
    return bool(figure.get_figwidth() > COLUMN_WIDTH)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PDF, SVG and PNG side by side; the same figure gives the same bytes.

    Args:
        figure: to write.
        path: of the PDF.
    """
    _make_drawable(figure)
    with mpl.rc_context(RC):
        figure.savefig(path, metadata={"CreationDate": None})
        figure.set_layout_engine(None)  # all formats have the layout of the PDF; each would compute it again
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=200, metadata={"Software": None})


def _make_drawable(figure: Figure) -> None:
    """Write letters that the font lacks as their code points."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        texts = [label.get_text() for label in axis.get_ticklabels()]
        if any(drawable(text) != text for text in texts):
            axis.set_ticklabels([drawable(text) for text in texts])
    for text in figure.findobj(Text):
        if drawable(text.get_text()) != text.get_text():
            text.set_text(drawable(text.get_text()))
