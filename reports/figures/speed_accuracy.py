"""Figures of test accuracy over mean MACs: all methods of a setting, and LGViT between random and perfect routing."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.panels import legend_below, panel_figure, spread
from reports.study import ComparisonGroup
from reports.style import RC, Look, legend_label
from results.stats.statistics import over_seeds
from results.tables.run import NO_POLICY, STATIC

STEPS = 60
MARKERS = 6
COST = "mean MACs (without exits: 1)"
PERFECT, RANDOM = "perfect routing", "random routing"


def speed_accuracy(
    setting: ComparisonGroup, looks: dict[str, Look], shown: list[str], display: Mapping[str, str]
) -> Figure:
    """All methods of one setting: lines with 95 % intervals, and points for models without exits and fixed thresholds.

    A line connects the thresholds of a grid that was fixed on val, measured on test. With several seeds it is their mean over
    the costs that all seeds reach.
    """
    curves = {name: curve for name in shown if len(curve := curve_of(setting, name)) > 1}
    panels = spread(shown, setting.label(setting.leading, setting.leading.policies[0]))
    figure, cells = panel_figure([[display[name] for name in names] for names in panels], 2.0)
    with mpl.rc_context(RC):
        for axes, names in zip(cells, panels, strict=True):
            for name in names:
                if name in curves:
                    _line(axes, curves[name], display[name], looks[name])
            _marks(axes, setting, names, looks, display)
            axes.set_xlabel(COST)
            legend_below(axes, columns=min(len(panels), 3))
        for axes in cells[:: min(len(cells), 3)]:
            axes.set_ylabel("test accuracy (%)")
    return figure


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
    """LGViT's policy, random and perfect routing with the same heads and exit shares; None with fewer than two points."""
    name = setting.label(setting.leading, setting.leading.policies[0])
    names = {setting.label(run, policy): run for run in setting.exiting for policy in run.policies}
    method = names[name].method
    rows = routing[(routing["method"] == method) & routing["point"].str.startswith(f"{setting.leading.policies[0]}/")]
    if rows["point"].nunique() < 2:
        return None
    means = rows.groupby("point")[["macs", "accuracy", "random", "oracle"]].mean().sort_values("macs")
    with mpl.rc_context(RC):
        figure, (axes,) = panel_figure([[PERFECT, display[name], RANDOM]], 1.5)
        grey = "#555555"
        axes.plot(means["macs"], 100 * means["oracle"], "^:", color=grey, label=PERFECT, mfc="white")
        axes.plot(
            means["macs"],
            100 * means["accuracy"],
            color=looks[name].color,
            marker=looks[name].marker,
            label=legend_label(display[name]),
        )
        axes.plot(means["macs"], 100 * means["random"], "v--", color=grey, label=RANDOM, mfc="white")
        axes.set(xlabel=COST, ylabel="test accuracy (%)")
        legend_below(axes, columns=1)
    return figure


def _line(axes: Axes, curve: pd.DataFrame, name: str, look: Look) -> None:
    every = max(len(curve) // MARKERS, 1)
    axes.fill_between(curve["share"], curve["low"], curve["high"], color=look.color, alpha=0.1, lw=0)
    axes.plot(
        curve["share"], curve["accuracy"], color=look.color, marker=look.marker, markevery=every, ms=3.5,
        label=legend_label(name), dashes=look.line if look.line != (1, 0) else (None, None),
    )  # fmt: skip


def _marks(
    axes: Axes, setting: ComparisonGroup, names: list[str], looks: dict[str, Look], display: Mapping[str, str]
) -> None:
    """Points of models without exits and of fixed thresholds."""
    rows = setting.totals
    fixed = (rows["kind"] == "fixed") & ((rows["policy"] == NO_POLICY) | rows["label"].isin(names))
    for _, row in rows[((rows["kind"] == STATIC) | fixed) & rows["reached"]].iterrows():
        look, accuracy = looks[row["label"]], row["accuracy"]
        error = [[100 * (accuracy - row["low"])], [100 * (row["high"] - accuracy)]]
        size = 8 if row["kind"] == STATIC else 5
        axes.errorbar(
            1 / row["mac_speedup"], 100 * accuracy, error, color=look.color, marker=look.marker, ms=size, lw=0.8, capsize=2,
            label=legend_label(display[row["label"]]), ls="",
        )  # fmt: skip
