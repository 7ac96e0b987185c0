"""What each exit knows, and who leaves there."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, looks, new_figure
from results.table import Run


def exit_accuracy(runs: list[Run]) -> Figure:
    """Test accuracy of each exit when it is asked about every sample."""
    rows = [
        {"method": run.method, "seed": run.seed, "block": exit_.block, "accuracy": 100 * exit_.test_accuracy}
        for run in runs
        if not run.is_static
        for exit_ in run.record.exits
    ]
    table = pd.DataFrame(rows)
    style = looks([run.method for run in runs])
    methods = list(dict.fromkeys(table["method"]))
    with mpl.rc_context(RC):
        figure = new_figure(COLUMN_WIDTH, 2.1)
        axes = figure.subplots()
        sns.lineplot(
            table, x="block", y="accuracy", hue="method", style="method", hue_order=methods, style_order=methods, ax=axes,
            errorbar=("sd", 1) if table["seed"].nunique() > 1 else None,
            palette={name: style[name].colour for name in methods},
            dashes={name: style[name].line for name in methods}, markers={name: style[name].marker for name in methods},
        )  # fmt: skip
        axes.set(xlabel="exit after block (the last is the final classifier)", ylabel="test accuracy (%)")
        axes.set_xticks(sorted(table["block"].unique()))
        axes.legend(loc="lower right", title=None, handlelength=2.6)
    return figure


def exit_distribution(runs: list[Run], point: str) -> Figure | None:
    """Where test samples leave at one operating point; None if no method reaches it."""
    rows = []
    for run in runs:
        for candidate in run.record.points:
            if candidate.name == point and candidate.test is not None:
                for exit_, share in zip(run.record.exits, candidate.test.exit_shares, strict=True):
                    rows.append({"method": run.method, "block": exit_.block, "share": 100 * share})
    if not rows:
        return None
    table = pd.DataFrame(rows)
    style = looks([run.method for run in runs])
    methods = list(dict.fromkeys(table["method"]))
    with mpl.rc_context(RC):
        figure = new_figure(COLUMN_WIDTH, 2.1)
        axes = figure.subplots()
        sns.barplot(
            table, x="block", y="share", hue="method", hue_order=methods, ax=axes, errorbar=None, saturation=1,
            palette={name: style[name].colour for name in methods}, edgecolor="black", linewidth=0.3,
        )  # fmt: skip
        axes.set(xlabel="exit after block", ylabel="samples leaving (%)")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right", title=None)
    return figure
