"""What each exit knows, and who leaves there."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.panels import legend_below, panel_figure, spread
from reports.study import ComparisonGroup, policies
from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH, Look

LONG = 20
"""Characters of a name beyond which the map of exits takes both columns."""


def exit_accuracy(setting: ComparisonGroup, looks: dict[str, Look], shown: list[str]) -> Figure:
    """Test accuracy of each exit when it is asked about every sample: one line a method, whatever its policies."""
    rows = [
        {"name": run.method, "block": exit_.block, "accuracy": 100 * exit_.test_accuracy}
        for run in setting.exiting
        if any(setting.label(run, policy) in shown for policy in policies(run))
        for exit_ in run.record.exits
    ]
    table = pd.DataFrame(rows).groupby(["name", "block"], sort=False)["accuracy"].mean().reset_index()
    names = list(dict.fromkeys(table["name"]))
    panels = spread(names, setting.leading.method)
    figure, cells = panel_figure(panels, 1.7)
    with mpl.rc_context(RC):
        for axes, chosen in zip(cells, panels, strict=True):
            for name in chosen:
                line, look = table[table["name"] == name], looks[name]
                axes.plot(
                    line["block"], line["accuracy"], color=look.color, marker=look.marker, ms=3.5, label=name,
                    dashes=look.line if look.line != (1, 0) else (None, None),
                )  # fmt: skip
            axes.set_xlabel("exit after block")
            axes.set_xticks(sorted(table["block"].unique()))
            legend_below(axes, across=min(len(panels), 3))
        for axes in cells[:: min(len(cells), 3)]:
            axes.set_ylabel("test accuracy (%)")
    return figure


def exit_shares(setting: ComparisonGroup, point: tuple[str, float], shown: list[str]) -> pd.DataFrame:
    """Share of test samples in % that leave after each block, mean over seeds: rows methods, columns blocks."""
    rows = []
    for run in setting.exiting:
        for policy in policies(run):
            name = setting.label(run, policy)
            found = [p for p in run.record.points if (p.kind, p.target, p.policy) == (*point, policy)]
            if name in shown and found and found[0].test is not None:
                shares = zip(run.record.exits, found[0].test.exit_shares, strict=True)
                rows += [{"name": name, "block": e.block, "share": 100 * share} for e, share in shares]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).pivot_table(index="name", columns="block", values="share", aggfunc="mean", sort=False)
    return table[sorted(table.columns)]


def exit_distribution(setting: ComparisonGroup, point: tuple[str, float], shown: list[str]) -> Figure | None:
    """Where test samples leave at one operating point, as a map with the share in every field; None if nobody reaches it."""
    table = exit_shares(setting, point, shown)
    if table.empty:
        return None
    wide = max(map(len, table.index)) > LONG or len(table.columns) > 10
    size = (TEXT_WIDTH if wide else COLUMN_WIDTH, 0.55 + 0.17 * len(table))
    with mpl.rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        sns.heatmap(
            table, ax=axes, annot=True, fmt=".0f", cmap="Greys", vmin=0, vmax=100, cbar=False, linewidths=0.5,
            annot_kws={"fontsize": 6}, mask=table.isna(),
        )  # fmt: skip
        axes.set(xlabel="exit after block", ylabel="")
        axes.grid(visible=False)
        axes.tick_params(length=0, labelrotation=0)
        axes.tick_params(axis="y", labelsize=6.5)
    return figure
