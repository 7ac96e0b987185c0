"""Some test images of a segmentation with their labels, the answer of each exit, and where tokens left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from reports.style import RC, TEXT_WIDTH, class_colors
from results.tables.examples import IGNORED, Example

ROWS = 4
GROUND = (0.93, 0.93, 0.93)
FRAME = "#D55E00"
NAMED = 17
"""Classes that the legend names, those with the most pixels."""
LEGEND_COLUMNS = 6
LEGEND_ROW = 0.17
"""Height of a row of the legend, in inches."""
LEFT_COLORS = "viridis_r"
"""Colour map of the exits at which tokens leave: the earlier, the lighter."""


@dataclass(frozen=True)
class Scene:
    """One row of the figure.

    Attributes:
        example: the image, its label and the answers of all exits.
        left: 0-based exit at which the image leaves.
        tokens: the same image with the answer of a model whose tokens leave, and the exit of each of them; if any.
    """

    example: Example
    left: int
    tokens: Example | None = None


def scenes(
    rows: Sequence[Scene],
    blocks: Sequence[int],
    class_names: Sequence[str],
    shown: Sequence[int],
    token_blocks: Sequence[int] = (),
) -> Figure:
    """Images, labels and answers; a frame marks the exit at which an image leaves.

    Args:
        rows: at least one; all of them or none with `Scene.tokens`, which get two more columns.
        blocks: block of each exit.
        class_names: by index; class 0, the ground in most datasets, is grey.
        shown: 0-based exits that have a column.
        token_blocks: block of each exit of tokens, and the last block.
    """
    colors = [GROUND, *class_colors(len(class_names) - 1)]
    table = np.array([*colors, (1.0, 1.0, 1.0)])
    of_tokens = ("token exit", "left after") if token_blocks else ()
    titles = ["image", "label", *(f"block {blocks[k]}" for k in shown), *of_tokens]
    of_exits = mpl.colormaps[LEFT_COLORS](np.linspace(0.0, 1.0, max(len(token_blocks), 2)))
    side = TEXT_WIDTH / len(titles)
    shares = np.zeros(IGNORED)
    for row in rows:
        for classes in (row.example.label, *(row.example.answers[k] for k in shown)):
            shares += np.bincount(classes[classes != IGNORED], minlength=IGNORED) / classes.size
    present = np.flatnonzero(shares[: len(class_names)]).tolist()
    named = sorted(sorted(present, key=lambda index: -shares[index])[:NAMED])
    handles = [Patch(color=colors[index], label=class_names[index]) for index in named]
    if len(present) > NAMED:
        handles.append(Patch(alpha=0, label=f"and {len(present) - NAMED} more"))
    handles += [Patch(color=of_exits[k], label=f"block {block}") for k, block in enumerate(token_blocks)]
    legend_rows = -(-len(handles) // LEGEND_COLUMNS)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, side * len(rows) + 0.25 + LEGEND_ROW * legend_rows), layout="constrained")
        grid = figure.subplots(len(rows), len(titles), squeeze=False)
        for axes_row, row in zip(grid, rows, strict=True):
            draw_picture(axes_row[0], row.example.image)
            answers = [row.example.label, *(row.example.answers[k] for k in shown)]
            if row.tokens is not None and row.tokens.left is not None:
                answers.append(row.tokens.answers[-1])
                axes_row[-1].imshow(of_exits[row.tokens.left], interpolation="nearest")
            for axes, classes in zip(axes_row[1:], answers, strict=False):
                axes.imshow(table[np.where(classes == IGNORED, len(colors), classes)], interpolation="nearest")
            for axes, k in zip(axes_row[2:], shown, strict=False):
                if k == row.left:
                    frame = Rectangle(
                        (0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=FRAME, lw=2.5, clip_on=False
                    )
                    axes.add_patch(frame)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            for spine in axes.spines.values():
                spine.set_visible(False)
        if handles:
            columns = min(len(handles), LEGEND_COLUMNS)
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1)
    return figure


def draw_picture(axes: Axes, image: np.ndarray) -> None:
    if image.shape[2] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(image, interpolation="nearest")
