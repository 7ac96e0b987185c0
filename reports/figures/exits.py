"""Figures of the exits: accuracy of each exit, and the share of samples that leave there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.line_labels import Label, label_starts
from reports.study import ComparisonGroup
from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH, Look

LONG = 32
"""Names with more characters make the heat map two columns wide."""


def exit_accuracy(
    setting: ComparisonGroup, looks: dict[str, Look], shown: Sequence[str], display: Mapping[str, str]
) -> Figure:
    """Test accuracy of each exit over all samples, one line per method."""
    rows = [
        {"name": run.method, "block": exit_.block, "accuracy": 100 * exit_.test_accuracy}
        for run in setting.exiting
        if any(setting.label(run, policy) in shown for policy in run.policies)
        for exit_ in run.record.exits
    ]
    table = pd.DataFrame(rows).groupby(["name", "block"], sort=False)["accuracy"].mean().reset_index()
    size = (COLUMN_WIDTH, 1.6 + 0.07 * table["name"].nunique())
    with mpl.rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        labels = []
        for name, line in table.groupby("name", sort=False):
            look = looks[str(name)]
            axes.plot(
                line["block"], line["accuracy"], color=look.color, marker=look.marker, ms=3,
                dashes=look.line if look.line != (1, 0) else (None, None),
            )  # fmt: skip
            first = (float(line["block"].iloc[0]), float(line["accuracy"].iloc[0]))
            labels.append(Label(display[str(name)], first, look.color))
        blocks = sorted(table["block"].unique())
        axes.set_xlim(blocks[0] - 0.2, blocks[-1] + 0.2)
        axes.set_ylim(*axes.get_ylim())
        label_starts(axes, labels, size[1] - 0.45, size[0] - 0.5)
        axes.set(xlabel="exit after block", ylabel="test accuracy (%)", xticks=blocks)
    return figure


def exit_shares(setting: ComparisonGroup, point: tuple[str, float], shown: Sequence[str]) -> pd.DataFrame:
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
    setting: ComparisonGroup, point: tuple[str, float], shown: Sequence[str], display: Mapping[str, str]
) -> Figure | None:
    """Heat map of the exit shares at one operating point; None if no method reaches it."""
    table = exit_shares(setting, point, shown).rename(index=display)
    if table.empty:
        return None
    is_wide = max(map(len, table.index)) > LONG or len(table.columns) > 12
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
