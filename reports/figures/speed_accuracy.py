"""The curve that everything is about: test accuracy over the MACs that were spent."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, looks, new_figure
from results.statistics import bootstrap_mean
from results.table import STATIC, Run


def speed_accuracy(runs: list[Run]) -> Figure:
    """All methods of one setting: a line a method and seed with its 95 % interval, and the static backbone as a star.

    The lines join settings from a grid that was fixed on val; each was looked up on test.
    """
    curves = pd.concat([_curve(run) for run in runs if not run.is_static], ignore_index=True)
    methods = list(dict.fromkeys(curves["method"]))
    style = looks([STATIC, *methods])
    with mpl.rc_context(RC):
        figure = new_figure(COLUMN_WIDTH, 2.6)
        axes = figure.subplots()
        sns.lineplot(
            curves, x="share", y="accuracy", hue="method", style="method", units="seed", estimator=None, ax=axes,
            hue_order=methods, style_order=methods, sort=True,
            palette={name: style[name].colour for name in methods}, dashes={name: style[name].line for name in methods},
        )  # fmt: skip
        for (method, _), curve in curves.groupby(["method", "seed"], sort=False):
            ordered = curve.sort_values("share")
            axes.fill_between(
                ordered["share"], ordered["low"], ordered["high"], color=style[str(method)].colour, alpha=0.1, lw=0
            )
        for run in {run.seed: run for run in runs}.values():
            correct = run.correct(STATIC).to_numpy()
            low, high = (100 * end for end in bootstrap_mean(correct))
            accuracy = 100 * correct.mean()
            look = style[STATIC]
            error = [[accuracy - low], [high - accuracy]]
            axes.errorbar(
                1, accuracy, error, color=look.colour, marker=look.marker, ms=8, lw=0.8, capsize=2, label=STATIC, ls=""
            )
        _zoom(axes, curves)
        axes.set(xlabel="mean MACs relative to the backbone without exits", ylabel="test accuracy (%)")
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), loc="lower right", title=None, handlelength=2.6)
    return figure


def _curve(run: Run) -> pd.DataFrame:
    assert run.record.costs is not None
    curve = run.curves[run.curves["split"] == "test"]
    curve = curve[curve.groupby("policy")["policy"].transform("size") > 1]  # a fixed threshold is a point, no curve
    policies = list(dict.fromkeys(curve["policy"]))
    names = {policy: run.method if len(policies) == 1 else f"{run.method}, {policy}" for policy in policies}
    return pd.DataFrame(
        {
            "method": curve["policy"].map(names),
            "seed": run.seed,
            "share": curve["mean_macs"] / run.record.costs.baseline,
            "accuracy": 100 * curve["accuracy"],
            "low": 100 * curve["low"],
            "high": 100 * curve["high"],
        }
    )


def _zoom(axes: mpl.axes.Axes, curves: pd.DataFrame) -> None:
    """Leave room for the legend below the curves."""
    low, high = curves["low"].min(), curves["high"].max()
    axes.set_ylim(low - 0.45 * (high - low), high + 0.12 * (high - low))
