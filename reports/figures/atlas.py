"""Figure of test images, sorted by the exit at which they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.style import COLUMN_WIDTH, RC

NAMES = 0.55
"""Room for the names of the rows, in inches."""


@dataclass(frozen=True)
class Row:
    """Images that leave at one exit.

    Attributes:
        name: label of the exit, with the share of images that leave there.
        images: each uint8 [H, W, C].
        right: whether each prediction was correct.
    """

    name: str
    images: Sequence[np.ndarray]
    right: Sequence[bool]


def atlas(rows: Sequence[Row], columns: int) -> Figure:
    """One row per exit with room for ``columns`` images; those with a wrong prediction have a red frame."""
    side = (COLUMN_WIDTH - NAMES) / columns
    with mpl.rc_context(RC):
        figure = Figure(figsize=(COLUMN_WIDTH, len(rows) * side * 1.04))
        cells = figure.subplots(len(rows), columns, squeeze=False)
        figure.subplots_adjust(left=NAMES / COLUMN_WIDTH, right=1, top=1, bottom=0, wspace=0.12, hspace=0.12)
        for row, axes in zip(rows, cells, strict=True):
            for cell in axes:
                cell.set_axis_off()
            for image, right, cell in zip(row.images, row.right, axes, strict=False):
                grey = image.shape[2] == 1
                cell.imshow(image[:, :, 0] if grey else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                if not right:
                    frame = Rectangle(
                        (0, 0), 1, 1, transform=cell.transAxes, fill=False, ec="red", lw=1.5, clip_on=False
                    )
                    cell.add_patch(frame)
            axes[0].text(-0.12, 0.5, row.name, transform=axes[0].transAxes, ha="right", va="center", fontsize=7)
    return figure
