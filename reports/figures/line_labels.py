"""Names of lines beside their ends, in place of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

SIZE = 6.5
"""Of the letters, in points."""
WRAP = 30
"""Characters in one line of a name."""


@dataclass(frozen=True)
class Label:
    """The name of a line.

    Attributes:
        name: text.
        start: the first point of the line, in data coordinates.
        color: of the line.
    """

    name: str
    start: tuple[float, float]
    color: str


def label_starts(axes: Axes, labels: Sequence[Label], height: float, width: float) -> None:
    """Write each name to the left of the start of its line, joined by a thin line; names do not overlap.

    The limits of the axes must be final; those of x are extended to the left.

    Args:
        axes: with the lines.
        labels: one per line.
        height: of the axes in inches.
        width: of the axes in inches.
    """
    if not labels:
        return
    names = [fill(label.name, WRAP) for label in labels]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    letters = max(len(line) for name in names for line in name.split("\n"))
    room = min(0.056 * letters * SIZE / 6.5 + 0.18, 0.55 * width)
    axes.set_xlim(right - (right - left) * width / (width - room), right)
    unit = (top - bottom) * 1.35 * SIZE / 72 / height
    heights = [unit * (name.count("\n") + 1) for name in names]
    rows = spread_apart([label.start[1] for label in labels], heights, bottom, top)
    for label, name, y in zip(labels, names, rows, strict=True):
        x = left - 0.02 * (right - left)
        axes.text(x, y, name, color=label.color, fontsize=SIZE, ha="right", va="center", linespacing=1.0)
        axes.plot([x, label.start[0]], [y, label.start[1]], color=label.color, lw=0.4, alpha=0.7)


def spread_apart(positions: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres of boxes in the order of the wanted positions, moved as little as needed so that none overlap.

    Args:
        positions: wanted centres.
        heights: of the boxes.
        low: lower end of the room, within which the boxes stay if they fit.
        high: upper end.
    """
    order = np.argsort(positions, kind="stable")
    centres = np.array(positions, dtype=float)[order]
    sizes = np.array(heights, dtype=float)[order]
    gaps = (sizes[1:] + sizes[:-1]) / 2
    # Least squares for centres that keep their distances: pool neighbours that would overlap (isotonic regression).
    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    blocks: list[tuple[float, int]] = []
    for value in centres - offsets:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, count), (other, more) = blocks[-2:]
            blocks[-2:] = [((one * count + other * more) / (count + more), count + more)]
    shifted = np.repeat([value for value, _ in blocks], [count for _, count in blocks])
    shifted = np.minimum(shifted, high - sizes / 2 - offsets)
    lowest = low + sizes[0] / 2
    shifted = np.minimum(np.maximum(shifted, lowest), max(high - sizes[-1] / 2 - offsets[-1], lowest))
    result = np.empty(len(centres))
    result[order] = shifted + offsets
    return result.tolist()
