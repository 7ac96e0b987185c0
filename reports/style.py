"""One look for every figure: fixed colour, marker and line per method, readable in grey and with any colour vision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
from matplotlib.figure import Figure

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
    "svg.hashsalt": "lgvit-bench",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


class Look(NamedTuple):
    colour: str
    marker: str
    line: Any


_SOLID = (1, 0)
# Okabe and Ito's colours for what is seen most, and markers that small print in grey keeps apart. The port of a method has its
# colour, but another marker and line.
_FIXED = {
    "static": Look("#000000", "*", _SOLID),
    "lgvit": Look("#D55E00", "o", _SOLID),
    "lgvit-official": Look("#8C2D04", "X", (5, 1.5)),
    "vanilla": Look("#0072B2", "s", (4, 1.5)),
    "homogeneous-local": Look("#009E73", "^", (1, 1)),
    "homogeneous-global": Look("#CC79A7", "D", (3, 1, 1, 1)),
    "homogeneous-mlp": Look("#E69F00", "v", (7, 1.5)),
    "homogeneous-convolution": Look("#56B4E9", "P", (2, 2)),
    "homogeneous-attention": Look("#7F7F7F", "X", (5, 1, 1, 1, 1, 1)),
    "vit-ee": Look("#A6761D", "<", (8, 2)),
    "vit-ee-port": Look("#A6761D", ">", (1, 2)),
    "branchynet": Look("#332288", "<", _SOLID),
    "sdn": Look("#1B7837", "d", _SOLID),
    "sdn-port": Look("#1B7837", "s", (1, 2)),
    "deebert": Look("#44AA99", ">", (6, 1)),
    "pabee": Look("#762A83", "v", _SOLID),
    "pabee-port": Look("#762A83", "^", (1, 2)),
    "pcee": Look("#999933", "s", _SOLID),
    "pcee-port": Look("#999933", "D", (1, 2)),
    "berxit": Look("#882255", "P", (4, 1.5)),
    "berxit-port": Look("#882255", "X", (1, 2)),
    "truncated": Look("#555555", "d", (2, 2)),
    "next-smaller": Look("#555555", "P", (2, 2)),
}
_SPARE_COLOURS = ["#E69F00", "#56B4E9", "#7F7F7F", "#A6761D", "#8C2D04", "#1B7837", "#762A83", "#000000"]
_SPARE_MARKERS = ["v", "P", "X", "<", ">", "d", "s", "^", "D"]
_SPARE_LINES = [(6, 1), (2, 2), (5, 1, 1, 1, 1, 1), (1, 2), (8, 2)]
_SPARE = [
    Look(colour, _SPARE_MARKERS[i % len(_SPARE_MARKERS)], line)
    for i, (line, colour) in enumerate((line, colour) for line in _SPARE_LINES for colour in _SPARE_COLOURS)
]


def looks(methods: list[str]) -> dict[str, Look]:
    """The look of every label: a fixed one where it alone is of a method that has one, also behind a policy's name.

    The others take spare ones, where their name's checksum points or behind it: one that differs from all others in colour and
    marker while there is such a one, then one that differs at all.
    """
    bases = [name.split(", ")[0] for name in methods]
    found = {
        name: _FIXED[base]
        for name, base in zip(methods, bases, strict=True)
        if base in _FIXED and bases.count(base) == 1
    }
    for name in sorted(set(methods) - found.keys()):
        start = crc32(name.encode()) % len(_SPARE)
        behind = [*_SPARE[start:], *_SPARE[:start]]
        colours, markers = ({look[i] for look in found.values()} for i in (0, 1))
        alone = (look for look in behind if look.colour not in colours and look.marker not in markers)
        free = (look for look in behind if look not in found.values())
        found[name] = next(alone, None) or next(free, None) or behind[0]
    return found


def is_wide(figure: Figure) -> bool:
    """Whether a figure takes both columns."""
    return bool(figure.get_figwidth() > COLUMN_WIDTH)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PDF, SVG and PNG beside each other; the same figure gives the same bytes.

    Args:
        path: that of the PDF.
    """
    with mpl.rc_context(RC):
        figure.savefig(path, metadata={"CreationDate": None})
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=200, metadata={"Software": None})
