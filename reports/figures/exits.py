"""Figures of the exits: accuracy of each exit, and the share of samples that leave there."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.panels import legend_below, panel_figure, spread
from reports.study import ComparisonGroup
from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH, Look, legend_label

LONG = 20
"""Names with more characters make the heat map two columns wide."""


def exit_accuracy(
    setting: ComparisonGroup, looks: dict[str, Look], shown: list[str], display: Mapping[str, str]
) -> Figure:
    """Test accuracy of each exit over all samples, one line per method."""
    rows = [
        {"name": run.method, "block": exit_.block, "accuracy": 100 * exit_.test_accuracy}
        for run in setting.exiting
        if any(setting.label(run, policy) in shown for policy in run.policies)
        for exit_ in run.record.exits
    ]
    table = pd.DataFrame(rows).groupby(["name", "block"], sort=False)["accuracy"].mean().reset_index()
    names = list(dict.fromkeys(table["name"]))
    panels = spread(names, setting.leading.method)
    figure, cells = panel_figure([[display[name] for name in names_] for names_ in panels], 1.7)
    with mpl.rc_context(RC):
        for axes, panel_names in zip(cells, panels, strict=True):
            for name in panel_names:
                line, look = table[table["name"] == name], looks[name]
                axes.plot(
                    line["block"], line["accuracy"], color=look.color, marker=look.marker, ms=3.5,
                    label=legend_label(display[name]), dashes=look.line if look.line != (1, 0) else (None, None),
                )  # fmt: skip
            axes.set_xlabel("exit after block")
            axes.set_xticks(sorted(table["block"].unique()))
            legend_below(axes, columns=min(len(panels), 3))
        for axes in cells[:: min(len(cells), 3)]:
            axes.set_ylabel("test accuracy (%)")
    return figure


def exit_shares(setting: ComparisonGroup, point: tuple[str, float], shown: list[str]) -> pd.DataFrame:
    """Percentage of test samples that leave after each block, mean over seeds; one row per method, one column per block."""
    rows = []
    for run in setting.exiting:
        for policy in run.policies:
            name = setting.label(run, policy)
            points = [p for p in run.record.points if (p.kind, p.target, p.policy) == (*point, policy)]
            if name in shown and points and points[0].test is not None:
                shares = zip(run.record.exits, points[0].test.exit_shares, strict=True)
                rows += [{"name": name, "block": e.block, "share": 100 * share} for e, share in shares]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).pivot_table(index="name", columns="block", values="share", aggfunc="mean", sort=False)
    return table[sorted(table.columns)]


def exit_distribution(
    setting: ComparisonGroup, point: tuple[str, float], shown: list[str], display: Mapping[str, str]
) -> Figure | None:
    """Heat map of the exit shares at one operating point; None if no method reaches it."""
    table = exit_shares(setting, point, shown).rename(index=display)
    if table.empty:
        return None
    is_wide = max(map(len, table.index)) > LONG or len(table.columns) > 10
    size = (TEXT_WIDTH if is_wide else COLUMN_WIDTH, 0.55 + 0.17 * len(table))
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
