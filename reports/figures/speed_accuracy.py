"""The main figure of a setting: accuracy over MACs, and beside it the paired differences to the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.comparison_group import HALF, ComparisonGroup
from reports.figures.differences import ROW, draw_differences
from reports.figures.line_labels import Label, label_starts
from reports.figures.panels import legend_below, panel_figure
from reports.style import RC, TEXT_WIDTH, Look, legend_label
from results.stats.statistics import over_seeds
from results.tables.run import NO_POLICY, STATIC

STEPS = 60
COST = "mean MACs (without exits: 1)"
PERFECT, RANDOM = "perfect routing", "random routing"
CONVERGED = 0.3
"""Curves whose accuracies differ by less than this, in points, are no longer shown."""
BELOW = 3.0
"""Points of accuracy that are shown below the lowest curve at half of the MACs."""
LAST = 1.05
"""Costs beyond this share of the MACs are not shown, except of single points."""
LEAST_HEIGHT = 2.1
"""Of the main figure, in inches."""


def speed_accuracy(
    setting: ComparisonGroup,
    looks: dict[str, Look],
    shown: Sequence[str],
    rows: Sequence[str],
    display: Mapping[str, str],
) -> Figure:
    """Left the curves, cropped to where they differ; right the differences to the reference at every budget, if any was tested.

    Args:
        setting: to be shown.
        looks: of the labels.
        shown: labels of the curves.
        rows: labels of the differences, from the top.
        display: names of the labels.
    """
    contrasts = {key: contrast for key, contrast in setting.contrasts.items() if key[0] in rows}
    height = max(LEAST_HEIGHT, 0.8 + ROW * len(rows)) if contrasts else LEAST_HEIGHT
    with mpl.rc_context(RC):
        figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
        if not contrasts:
            _curves(figure.subplots(), setting, looks, shown, display, (TEXT_WIDTH - 0.6, height - 0.5))
            return figure
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _curves(left, setting, looks, shown, display, (3.4, height - 0.8))  # a legend is above the other panel
        draw_differences(right, rows, contrasts, display)
        right.set_xlabel(
            f"{setting.metric.name} minus that of {display.get(setting.reference, setting.reference)} (points)"
        )
    return figure


def _curves(
    axes: Axes,
    setting: ComparisonGroup,
    looks: dict[str, Look],
    shown: Sequence[str],
    display: Mapping[str, str],
    size: tuple[float, float],
) -> None:
    curves = {name: curve for name in shown if len(curve := curve_of(setting, name)) > 1}
    marks = _marks(setting, shown)
    marks = marks[~marks["label"].isin(off_the_scale(setting, shown))]
    static = setting.totals[setting.totals["kind"] == STATIC]
    (left, right), (bottom, top) = _window(_leading(curves, setting), marks, static)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    labels = []
    for name, curve in curves.items():
        look = looks[name]
        share, accuracy = curve["share"].to_numpy(), curve["accuracy"].to_numpy()
        axes.plot(share, accuracy, color=look.color, dashes=look.line if look.line != (1, 0) else (None, None))
        inside = np.flatnonzero((accuracy >= bottom) & (share >= left))
        if len(inside):
            labels.append(Label(display[name], (share[inside[0]], accuracy[inside[0]]), look.color))
    for _, row in marks.iterrows():
        look, x, y = looks[row["label"]], 1 / row["mac_speedup"], 100 * row["accuracy"]
        axes.plot(x, y, look.marker, color=look.color, ms=4)
        labels.append(Label(display[row["label"]], (x, y), look.color))
    if not static.empty:
        accuracy = 100 * static.iloc[0]["accuracy"]
        axes.plot([left, right], [accuracy, accuracy], color="black", lw=0.7, ls=":")
        labels.append(Label(display[STATIC], (left, accuracy), "black"))
    label_starts(axes, labels, size[1], size[0])
    axes.set(xlabel=COST, ylabel=f"test {setting.metric.name} (%)")
    axes.set_xticks([tick for tick in axes.get_xticks() if left - 0.02 <= tick <= right + 1e-9])


def off_the_scale(setting: ComparisonGroup, shown: Sequence[str]) -> list[str]:
    """The labels of points so far below the curves that the figure leaves them out: with them it would be twice as high."""
    curves = {name: curve for name in shown if len(curve := curve_of(setting, name)) > 1}
    marks = _marks(setting, shown)
    if not curves or marks.empty:
        return []
    static = setting.totals[setting.totals["kind"] == STATIC]
    _, (bottom, top) = _window(_leading(curves, setting), marks.iloc[:0], static)
    return marks[100 * marks["accuracy"] < bottom - (top - bottom)]["label"].tolist()


def _leading(curves: Mapping[str, pd.DataFrame], setting: ComparisonGroup) -> Mapping[str, pd.DataFrame]:
    """The curves that set the range of the axes: those of models that run the backbone once, if there are any."""
    return {name: curve for name, curve in curves.items() if name not in setting.repeating} or curves


def _marks(setting: ComparisonGroup, shown: Sequence[str]) -> pd.DataFrame:
    """Models without exits other than the reference, and fixed thresholds."""
    rows = setting.totals
    return rows[
        (rows["kind"] == "fixed") & ((rows["policy"] == NO_POLICY) | rows["label"].isin(shown)) & rows["reached"]
    ]


def _window(
    curves: Mapping[str, pd.DataFrame], marks: pd.DataFrame, static: pd.DataFrame
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The limits of x and y: up to where all curves agree, and from a little below the lowest curve at half of the MACs."""
    lines = [(curve["share"].to_numpy(), curve["accuracy"].to_numpy()) for curve in curves.values()]
    xs, ys = (1 / marks["mac_speedup"]).tolist(), (100 * marks["accuracy"]).tolist()
    tops = [*ys, *(accuracy.max() for _, accuracy in lines), *(100 * static["accuracy"])]
    if not lines:
        return (min([*xs, 1.0]) - 0.05, max([*xs, 1.0]) + 0.05), (min([*ys, *tops]) - 1, max(tops) + 1)
    start = min([share[0] for share, _ in lines])
    grid = np.linspace(start, max(share[-1] for share, _ in lines), 4 * STEPS)
    lowest = np.min([np.interp(grid, share, accuracy, left=0.0) for share, accuracy in lines], axis=0)
    apart = np.flatnonzero(max(accuracy.max() for _, accuracy in lines) - lowest > CONVERGED)
    end = float(np.clip(grid[apart[-1]] if len(apart) else grid[-1], start + 0.2, max(LAST, start + 0.2)))
    at_half = [np.interp(HALF[1], share, accuracy) for share, accuracy in lines]
    bottom = max(min(at_half) - BELOW, min(accuracy[0] for _, accuracy in lines))
    bottom, top = min([bottom, *ys]), max(tops)
    margin = max(0.06 * (top - bottom), 0.3)
    return (min([start, *xs]) - 0.01, max([end, *xs]) + 0.01), (bottom - margin, top + margin)


def curve_of(setting: ComparisonGroup, name: str) -> pd.DataFrame:
    """The curve of a method: share of the MACs without exits (ascending); accuracy, low and high in %. May be empty."""
    curves = []
    for run in setting.exiting:
        for policy in run.policies:
            if setting.label(run, policy) != name:
                continue
            curve = run.curves[(run.curves["split"] == "test") & (run.curves["policy"] == policy)]
            values = {column: 100 * curve[column] for column in ("accuracy", "low", "high")}
            share = curve["mean_macs"] / run.record.costs.baseline
            curves.append(pd.DataFrame({"share": share, **values}).sort_values("share"))
    if len(curves) < 2:
        return curves[0] if curves else pd.DataFrame({"share": []})
    shares = [curve["share"].to_numpy() for curve in curves]
    start, end = max(share[0] for share in shares), min(share[-1] for share in shares)
    if start >= end:
        return pd.DataFrame({"share": []})
    grid = np.linspace(start, end, STEPS)
    seeds = np.array([np.interp(grid, curve["share"], curve["accuracy"]) for curve in curves])
    ends = np.array([over_seeds(column.tolist()) for column in seeds.T])
    return pd.DataFrame({"share": grid, "accuracy": seeds.mean(axis=0), "low": ends[:, 0], "high": ends[:, 1]})


def controls(
    setting: ComparisonGroup, routing: pd.DataFrame, looks: dict[str, Look], display: Mapping[str, str]
) -> Figure | None:
    """LGViT's policy, random and perfect routing with the same heads and exit shares; None with fewer than two points.

    Only a classification has perfect routing.
    """
    name = setting.label(setting.leading, setting.leading.policies[0])
    names = {setting.label(run, policy): run for run in setting.exiting for policy in run.policies}
    method = names[name].method
    rows = routing[(routing["method"] == method) & routing["point"].str.startswith(f"{setting.leading.policies[0]}/")]
    if rows["point"].nunique() < 2:
        return None
    perfect = ["oracle"] if setting.leading.is_classification else []
    means = rows.groupby("point")[["macs", "accuracy", "random", *perfect]].mean().sort_values("macs")
    with mpl.rc_context(RC):
        figure, (axes,) = panel_figure([[*([PERFECT] if perfect else []), display[name], RANDOM]], 1.2)
        grey = "#555555"
        if perfect:
            axes.plot(means["macs"], 100 * means["oracle"], "^:", color=grey, label=PERFECT, mfc="white")
        axes.plot(
            means["macs"],
            100 * means["accuracy"],
            color=looks[name].color,
            marker=looks[name].marker,
            label=legend_label(display[name]),
        )
        axes.plot(means["macs"], 100 * means["random"], "v--", color=grey, label=RANDOM, mfc="white")
        axes.set(xlabel=COST, ylabel=f"test {setting.metric.name} (%)")
        legend_below(axes, columns=1)
    return figure
