"""The figure of page one: accuracy over MACs, and beside it one operating point in layers, in MACs and in time."""

from __future__ import annotations

from textwrap import fill
from typing import Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.comparison_group import HALF, ComparisonGroup
from reports.figures.honesty import MEANINGS
from reports.figures.speed_accuracy import COST, curve_of
from reports.study import Study
from reports.style import RC, TEXT_WIDTH, legend_label
from results.tables.run import STATIC

CURVES = 5
"""Methods in the left panel: the reference, and the others that are first and last at half of the MACs; only where these are
fewer, also those that run the backbone more than once."""
HEIGHT, LOW = 2.2, 1.8
"""In inches, the second with a single method; figures with many bars are higher."""
BAR = 0.11
"""Least height of a bar in inches: that of the number beside it."""
GROUP = 0.8
"""Share of the height of a method that its bars take."""
ABOVE = 0.7
"""Height of axis labels and legends in inches."""
LEGEND = {3: 24, 2: 40}
"""Columns of a legend, with the letters of the longest name that has room in them."""
WRAP = 26
"""Letters in one line of a name beside the bars."""
LEAST_SHARE = 0.3
"""Cheaper thresholds of a curve do not set the range of the accuracy axis: their accuracy may be that of chance."""


def teaser(study: Study, setting: ComparisonGroup, speeds: pd.DataFrame) -> Figure:
    """
    Args:
        study: of the report.
        setting: that is shown.
        speeds: of `reports.sections.realised.counted_three_ways`; may be empty.
    """
    names = chosen(setting)
    with mpl.rc_context(RC):
        bars = speeds["label"].isin(names).sum() * (3 * BAR / GROUP) + ABOVE
        height = max(HEIGHT if len(names) > 1 else LOW, bars)
        figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
        if speeds.empty:
            left = figure.subplots()
            _curves(left, study, setting, names)
            _legend(figure, left, "outside upper left")
            return figure
        left, right = figure.subplots(1, 2, width_ratios=(1.45, 1))
        _curves(left, study, setting, names)
        _speeds(right, study, speeds[speeds["label"].isin(names)])
        _legend(figure, left, "outside upper left")
        _legend(figure, right, "outside upper right")
    return figure


def _legend(figure: Figure, axes: Axes, place: Literal["outside upper left", "outside upper right"]) -> None:
    """The legend of a panel, above both panels, where it covers no curve."""
    handles, texts = axes.get_legend_handles_labels()
    widest = max(map(len, texts), default=0)
    columns = next((count for count, letters in LEGEND.items() if widest <= letters), 1)
    figure.legend(handles, texts, loc=place, ncols=columns, fontsize=6.5, columnspacing=1.0)


def chosen(setting: ComparisonGroup) -> list[str]:
    """The methods that are shown: the reference, then others by decreasing accuracy at half of the MACs."""
    half = setting.at(HALF).sort_values("accuracy", ascending=False)["label"]
    others = [name for name in dict.fromkeys([*half, *setting.methods]) if name != setting.reference]
    once = [name for name in others if name not in setting.repeating]
    if len(once) >= CURVES:
        last = len(set(half) - {setting.reference} - setting.repeating)
        others = [*once[: CURVES - 2], once[last - 1]]
    return [setting.reference, *dict.fromkeys(others)]


def _curves(axes: Axes, study: Study, setting: ComparisonGroup, names: list[str]) -> None:
    lowest, highest = [], []
    for name in names:
        curve, look = curve_of(setting, name), study.looks[name]
        if len(curve) < 2:
            continue
        axes.plot(
            curve["share"], curve["accuracy"], color=look.color, label=legend_label(study.display[name]),
            dashes=look.line if look.line != (1, 0) else (None, None),
        )  # fmt: skip
        part = curve[curve["share"] >= LEAST_SHARE]["accuracy"]
        lowest += [part.min()] if len(part) else []
        highest += [curve["accuracy"].max()]
    static = setting.totals[setting.totals["kind"] == STATIC]
    if not static.empty:
        accuracy = 100 * static.iloc[0]["accuracy"]
        axes.plot(1, accuracy, "*", color="black", ms=8, label=study.display[STATIC])
        highest.append(accuracy)
    if lowest and highest:
        margin = max(0.08 * (max(highest) - min(lowest)), 0.5)
        axes.set_ylim(min(lowest) - margin, max(highest) + margin)
    axes.set(xlabel=COST, ylabel=f"test {setting.metric.name} (%)")


def _speeds(axes: Axes, study: Study, rows: pd.DataFrame) -> None:
    """Three bars a method, the reference above."""
    kinds = [kind for kind in MEANINGS if rows[kind].notna().any()]
    height = GROUP / len(kinds)
    for y, (_, row) in enumerate(rows.iterrows()):
        for number, kind in enumerate(kinds):
            if pd.notna(row[kind]):
                text, _, face = MEANINGS[kind]
                position = y + (number - (len(kinds) - 1) / 2) * height
                axes.barh(
                    position, row[kind], height, color=face, edgecolor="black", lw=0.5, label=text if y == 0 else None
                )
                axes.text(row[kind] + 0.03, position, f"{row[kind]:.2f}×", va="center", fontsize=5.5)
    axes.axvline(1, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(rows)), [fill(study.display[label], WRAP) for label in rows["label"]], fontsize=6.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.18 * max(rows[kinds].max()))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("speed-up, ≤ 1 point lost on val", loc="right")  # the label may be wider than the axes
