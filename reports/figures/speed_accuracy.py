"""The curve that everything is about: test accuracy over the MACs that were spent."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.style import MANY, RC, add_legend, looks, new_figure
from results.statistics import bootstrap_mean
from results.table import STATIC, Run, labels


def speed_accuracy(runs: list[Run]) -> Figure:
    """All methods of one setting: a line a method and seed with its 95 % interval, and the static backbone as a star.

    The lines join settings from a grid that was fixed on val; each was looked up on test.
    """
    named = labels(runs)
    every = pd.concat([_curve(run, named) for run in runs if not run.is_static], ignore_index=True)
    alone = every.groupby(["method", "seed"])["share"].transform("size") == 1  # a fixed threshold is a point, no curve
    curves, marks = every[~alone], every[alone]
    methods = list(dict.fromkeys(curves["method"]))
    style = looks(list(dict.fromkeys([STATIC, *every["method"]])))
    with mpl.rc_context(RC):
        figure = new_figure(2.6, list(style))
        axes = figure.subplots()
        if methods:
            sns.lineplot(
                curves, x="share", y="accuracy", hue="method", style="method", units="seed", estimator=None, ax=axes,
                hue_order=methods, style_order=methods, sort=True,
                palette={name: style[name].colour for name in methods}, dashes={name: style[name].line for name in methods},
            )  # fmt: skip
        for (method, _), curve in curves.groupby(["method", "seed"], sort=False):
            ordered = curve.sort_values("share")
            colour = style[str(method)].colour
            axes.fill_between(ordered["share"], ordered["low"], ordered["high"], color=colour, alpha=0.1, lw=0)
        for _, mark in marks.iterrows():
            look = style[mark["method"]]
            axes.plot(mark["share"], mark["accuracy"], look.marker, color=look.colour, ms=5, label=mark["method"])
        for run in {run.seed: run for run in runs}.values():
            correct = run.correct(STATIC).to_numpy()
            low, high = (100 * end for end in bootstrap_mean(correct))
            accuracy = 100 * correct.mean()
            look = style[STATIC]
            error = [[accuracy - low], [high - accuracy]]
            axes.errorbar(
                1, accuracy, error, color=look.colour, marker=look.marker, ms=8, lw=0.8, capsize=2, label=STATIC, ls=""
            )
        axes.set(xlabel="mean MACs relative to the backbone without exits", ylabel="test accuracy (%)")
        _zoom(axes, every, legend_inside=len(style) <= MANY)
        add_legend(axes, loc="lower right")
    return figure


def _curve(run: Run, named: dict[tuple[str, str], str]) -> pd.DataFrame:
    assert run.record.costs is not None
    curve = run.curves[run.curves["split"] == "test"]
    return pd.DataFrame(
        {
            "method": [named[run.record.run_id, policy] for policy in curve["policy"]],
            "seed": run.seed,
            "share": curve["mean_macs"] / run.record.costs.baseline,
            "accuracy": 100 * curve["accuracy"],
            "low": 100 * curve["low"],
            "high": 100 * curve["high"],
        }
    )


def _zoom(axes: Axes, curves: pd.DataFrame, *, legend_inside: bool) -> None:
    """The range of the curves, with room for a legend below them."""
    low, high = curves["low"].min(), curves["high"].max()
    axes.set_ylim(low - (0.45 if legend_inside else 0.05) * (high - low), high + 0.12 * (high - low))
