"""Figure of test images, sorted by the exit at which they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from reports.style import RC, TEXT_WIDTH


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


def atlas(rows: Sequence[Row]) -> Figure:
    """One row per exit; images with a wrong prediction have a red cross."""
    columns = max(len(row.images) for row in rows)
    side = (TEXT_WIDTH - 0.9) / columns
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, len(rows) * side * 1.04))
        cells = figure.subplots(len(rows), columns, squeeze=False)
        figure.subplots_adjust(left=0.9 / TEXT_WIDTH, right=1, top=1, bottom=0, wspace=0.06, hspace=0.06)
        for row, axes in zip(rows, cells, strict=True):
            for cell in axes:
                cell.set_axis_off()
            for image, right, cell in zip(row.images, row.right, axes, strict=False):
                grey = image.shape[2] == 1
                cell.imshow(image[:, :, 0] if grey else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                if not right:
                    cell.plot([0.04, 0.3], [0.7, 0.96], "r", transform=cell.transAxes, lw=1.5)
                    cell.plot([0.04, 0.3], [0.96, 0.7], "r", transform=cell.transAxes, lw=1.5)
            axes[0].text(-0.12, 0.5, row.name, transform=axes[0].transAxes, ha="right", va="center", fontsize=7)
    return figure
