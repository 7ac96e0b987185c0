"""Figures of the exits: accuracy of each exit, and the share of samples that leave there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.comparison_group import ComparisonGroup
from reports.figures.line_labels import Label, label_starts
from reports.style import COLUMN_WIDTH, RC, TEXT_WIDTH, Look

LONG = 32
"""Names with more characters make the heat map two columns wide."""


def exit_accuracy(
    setting: ComparisonGroup, looks: dict[str, Look], shown: Sequence[str], display: Mapping[str, str]
) -> Figure:
    """The test metric of each exit over all samples, one line per method; of a segmentation boundary IoU beside it, of a
    detection AP50."""
    runs = [run for run in setting.exiting if any(setting.label(run, policy) in shown for policy in run.policies)]
    panels = {f"test {setting.metric.name} (%)": [[exit_.test_accuracy for exit_ in run.record.exits] for run in runs]}
    if setting.leading.is_segmentation:
        panels["test boundary IoU (%)"] = [run.boundary_at_exits.tolist() for run in runs]
    if setting.leading.is_detection:
        panels["test AP50 (%)"] = [run.ap50_at_exits.tolist() for run in runs]
    methods = len({run.method for run in runs})
    size = (COLUMN_WIDTH if len(panels) == 1 else TEXT_WIDTH, 1.45 + 0.07 * methods)
    with mpl.rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        for axes, (label, values) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            rows = [
                {"name": run.method, "block": exit_.block, "value": 100 * value}
                for run, of_run in zip(runs, values, strict=True)
                for exit_, value in zip(run.record.exits, of_run, strict=True)
            ]
            table = pd.DataFrame(rows).groupby(["name", "block"], sort=False)["value"].mean().reset_index()
            _lines(axes, table, looks, display, (size[0] / len(panels) - 0.5, size[1] - 0.45))
            axes.set_ylabel(label)
    return figure


def _lines(
    axes: Axes,
    table: pd.DataFrame,
    looks: Mapping[str, Look],
    display: Mapping[str, str],
    size: tuple[float, float],
) -> None:
    """One line per name over the blocks; ``size`` is the width and height of the axes in inches."""
    labels = []
    for name, line in table.groupby("name", sort=False):
        look = looks[str(name)]
        axes.plot(
            line["block"], line["value"], color=look.color, marker=look.marker, ms=3,
            dashes=look.line if look.line != (1, 0) else (None, None),
        )  # fmt: skip
        first = (float(line["block"].iloc[0]), float(line["value"].iloc[0]))
        labels.append(Label(display[str(name)], first, look.color))
    blocks = sorted(table["block"].unique())
    axes.set_xlim(blocks[0] - 0.2, blocks[-1] + 0.2)
    axes.set_ylim(*axes.get_ylim())
    label_starts(axes, labels, size[1], size[0])
    axes.set(xlabel="exit after block", xticks=blocks)


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
