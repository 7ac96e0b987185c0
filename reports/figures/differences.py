"""Paired differences in accuracy to one method, with simultaneous intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.style import RC, TEXT_WIDTH
from results.judge.contrast import OPEN, Contrast

MARKERS = ("o", "s", "D", "^", "v", "P")
ROW = 0.26
"""Height of a row in inches."""
WRAP = 30
"""Characters in one line of a name."""


def draw_differences(
    axes: Axes,
    rows: Sequence[str],
    contrasts: Mapping[tuple[str, float], Contrast],
    names: Mapping[str, str],
    wrap: int = WRAP,
) -> None:
    """One row per label, one mark per budget: its accuracy minus that of the reference, in points.

    Args:
        axes: to draw on.
        rows: labels, from the top.
        contrasts: the reference minus each label, by label and budget.
        names: of the labels.
        wrap: characters in one line of a name.
    """
    budgets = sorted({budget for _, budget in contrasts})
    step = 0.7 / max(len(budgets), 1)
    for y, label in enumerate(rows):
        for number, budget in enumerate(budgets):
            contrast = contrasts.get((label, budget))
            if contrast is None:
                continue
            low, high = (100 * end for end in contrast.reversed().simultaneous)
            value, height = -100 * contrast.estimate.value, y + (number - (len(budgets) - 1) / 2) * step
            color = "#999999" if contrast.result == OPEN else "black"
            axes.plot([low, high], [height] * 2, color=color, lw=0.9, solid_capstyle="butt")
            face = "white" if contrast.result == OPEN else "black"
            axes.plot(value, height, MARKERS[number % len(MARKERS)], mfc=face, mec=color, mew=0.8, ms=3.6, ls="")
    axes.axvline(0, color="black", lw=0.7, ls=":")
    axes.set_yticks(range(len(rows)), [fill(names.get(label, label), wrap) for label in rows], fontsize=6.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    for y in range(1, len(rows)):
        axes.axhline(y - 0.5, color="#dddddd", lw=0.5)
    if len(budgets) > 1:
        handles = [
            Line2D([], [], marker=MARKERS[i % len(MARKERS)], mfc="black", mec="black", ms=3.6, ls="")
            for i in range(len(budgets))
        ]
        axes.legend(
            handles, [f"{budget:g}" for budget in budgets], title="at this share of the MACs", title_fontsize=6.5,
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(budgets), fontsize=6.5, columnspacing=1.0,
            handletextpad=0.1,
        )  # fmt: skip


def differences(contrasts: Mapping[str, Contrast], names: Mapping[str, str], base: str, metric: str) -> Figure:
    """The variants of a method at one budget.

    Args:
        contrasts: the base minus each variant, by name.
        names: of the variants.
        base: name of the base.
        metric: its name.
    """
    wrap = 60
    lines = sum(fill(names.get(name, name), wrap).count("\n") + 1 for name in contrasts)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, 0.6 + 0.2 * lines), layout="constrained")
        axes = figure.subplots()
        draw_differences(axes, list(contrasts), {(name, 0.5): value for name, value in contrasts.items()}, names, wrap)
        axes.set_xlabel(f"{metric} minus that of {base} (points)")
    return figure
