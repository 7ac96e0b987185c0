"""What each exit knows, and who leaves there."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.style import RC, add_legend, looks, new_figure
from results.table import Run, labels


def exit_accuracy(runs: list[Run]) -> Figure:
    """Test accuracy of each exit when it is asked about every sample."""
    rows = [
        {"method": run.method, "seed": run.seed, "block": exit_.block, "accuracy": 100 * exit_.test_accuracy}
        for run in runs
        if run.has_exits
        for exit_ in run.record.exits
    ]
    table = pd.DataFrame(rows)
    methods = list(dict.fromkeys(table["method"]))
    style = looks(methods)
    with mpl.rc_context(RC):
        figure = new_figure(2.1, methods)
        axes = figure.subplots()
        sns.lineplot(
            table, x="block", y="accuracy", hue="method", style="method", hue_order=methods, style_order=methods, ax=axes,
            errorbar=("sd", 1) if table["seed"].nunique() > 1 else None,
            palette={name: style[name].colour for name in methods},
            dashes={name: style[name].line for name in methods}, markers={name: style[name].marker for name in methods},
        )  # fmt: skip
        axes.set(xlabel="exit after block (the last is the final classifier)", ylabel="test accuracy (%)")
        axes.set_xticks(sorted(table["block"].unique()))
        add_legend(axes, loc="lower right")
    return figure


def exit_distribution(runs: list[Run], kind: str, target: float) -> Figure | None:
    """Where test samples leave at one operating point; None if nobody reaches it."""
    named, rows = labels(runs), []
    for run in runs:
        for point in run.record.points:
            if (point.kind, point.target) == (kind, target) and point.test is not None:
                for exit_, share in zip(run.record.exits, point.test.exit_shares, strict=True):
                    label = named[run.record.run_id, point.policy]
                    rows.append({"method": label, "block": exit_.block, "share": 100 * share})
    if not rows:
        return None
    table = pd.DataFrame(rows)
    methods = list(dict.fromkeys(table["method"]))
    style = looks(methods)
    with mpl.rc_context(RC):
        figure = new_figure(2.1, methods)
        axes = figure.subplots()
        sns.barplot(
            table, x="block", y="share", hue="method", hue_order=methods, ax=axes, errorbar=None, saturation=1,
            palette={name: style[name].colour for name in methods}, edgecolor="black", linewidth=0.3,
        )  # fmt: skip
        axes.set(xlabel="exit after block", ylabel="samples leaving (%)")
        axes.grid(visible=False, axis="x")
        add_legend(axes, loc="upper right")
    return figure
