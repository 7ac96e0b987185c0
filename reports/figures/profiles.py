"""Figure of performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from reports.style import COLUMN_WIDTH, RC, Look, legend_label
from results.stats.profiles import WORST, profile


def profiles(ratios: np.ndarray, labels: Sequence[str], looks: Mapping[str, Look], names: Mapping[str, str]) -> Figure:
    """The share of settings in which each method costs at most a factor times the cheapest one.

    Args:
        ratios: of `results.stats.profiles.cost_ratios`, [M, S].
        labels: of the methods, [M].
        looks: of the labels.
        names: of the labels.
    """
    factors = np.linspace(1, WORST, 401)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(COLUMN_WIDTH, 1.9 + 0.13 * ((len(labels) + 1) // 2)), layout="constrained")
        axes = figure.subplots()
        for label, shares in zip(labels, profile(ratios, factors), strict=True):
            look = looks[label]
            line = axes.step(factors, 100 * shares, where="post", color=look.color, label=legend_label(names[label]))[0]
            if look.line != (1, 0):
                line.set_dashes(look.line)
        axes.set(
            xlabel="MACs over those of the cheapest method", ylabel="settings (%)", xlim=(1, WORST), ylim=(-3, 103)
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6.5)
    return figure
