"""Some test images of a detection with their labelled boxes and those that exits find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from reports.figures.scenes import FRAME, draw_picture
from reports.style import RC, TEXT_WIDTH, class_colors

IGNORED = "ignored"
GREY = (0.6, 0.6, 0.6)


@dataclass(frozen=True)
class Boxes:
    """Boxes in the pixels of a picture.

    Attributes:
        sides: left, top, right, bottom, [M, 4].
        label: class of each, [M]; -1 for an ignored one.
    """

    sides: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Detected:
    """One row of the figure.

    Attributes:
        image: uint8 [H, W, channels].
        truth: the labelled boxes.
        found: boxes at each exit that has a column.
        left: the column of the exit at which the image leaves, counted in ``found``; None if it has no column.
    """

    image: np.ndarray
    truth: Boxes
    found: Sequence[Boxes]
    left: int | None


def detected(rows: Sequence[Detected], titles: Sequence[str], class_names: Sequence[str]) -> Figure:
    """Images with labelled and with found boxes; a frame marks the exit at which an image leaves.

    Args:
        rows: at least one.
        titles: of the exits' columns.
        class_names: by index.
    """
    colors = class_colors(len(class_names))
    heads = ["labels", *titles]
    width = TEXT_WIDTH / len(heads)
    heights = [width * row.image.shape[0] / row.image.shape[1] for row in rows]
    present: set[int] = set()
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, sum(heights) + 0.55), layout="constrained")
        grid = figure.subplots(len(rows), len(heads), squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes_row, row in zip(grid, rows, strict=True):
            for axes, boxes in zip(axes_row, (row.truth, *row.found), strict=True):
                draw_picture(axes, row.image)
                present |= set(boxes.label.tolist())
                _draw(axes, boxes, colors)
            if row.left is not None:
                frame = Rectangle(
                    (0, 0), 1, 1, transform=axes_row[1 + row.left].transAxes, fill=False, edgecolor=FRAME, lw=2.5,
                    clip_on=False,
                )  # fmt: skip
                axes_row[1 + row.left].add_patch(frame)
        for axes, title in zip(grid[0], heads, strict=True):
            axes.set_title(title)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            for spine in axes.spines.values():
                spine.set_visible(False)
        handles = [Line2D([], [], color=GREY, ls="--", label=IGNORED)] if -1 in present else []
        names = [index for index in sorted(present) if 0 <= index < len(class_names)]
        handles = [*(Line2D([], [], color=colors[index], label=class_names[index]) for index in names), *handles]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), handlelength=1)
    return figure


def _draw(axes: Axes, boxes: Boxes, colors: Sequence[tuple[float, float, float]]) -> None:
    for (left, top, right, bottom), label in zip(boxes.sides, boxes.label, strict=True):
        is_known = 0 <= label < len(colors)
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, lw=1.1,
                edgecolor=colors[label] if is_known else GREY, ls="-" if label >= 0 else "--",
            )
        )  # fmt: skip
