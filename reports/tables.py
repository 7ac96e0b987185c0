"""Tables of formatted text, made from the tidy tables of `results.tables.points`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from results.judge.contrast import AHEAD, BEHIND, OPEN, Contrast
from results.metric import ACCURACY, Metric
from results.tables.points import timed_seeds
from results.tables.run import NO_POLICY, STATIC, Run
from results.text import printable

DASH = "–"


@dataclass(frozen=True)
class Table:
    """Header and rows, all text.

    Attributes:
        bold: (row, column) of cells to be set in bold; a star in plain text.
        underlined: (row, column) of cells to be underlined; a minus in plain text.
        groups: headings over neighbouring columns, with the number of columns that each spans; empty for none.
        words: whether the cells contain words rather than numbers.
        keys: number of columns, from the first, that say what a row is about.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    underlined: frozenset[tuple[int, int]] = frozenset()
    groups: tuple[tuple[str, int], ...] = ()
    words: bool = False
    keys: int = 1


def renamed(table: Table, names: Mapping[str, str]) -> Table:
    """The table with other names in its first column; cells without a name stay."""
    return replace(table, rows=tuple((names.get(row[0], row[0]), *row[1:]) for row in table.rows))


def percent(value: float) -> str:
    return DASH if pd.isna(value) else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Percentage points with a sign; a minus sign, not a hyphen."""
    return _minus(f"{100 * value:+.1f}")


def points(drop: float) -> str:
    """A drop in accuracy: ``1 point``, ``0.5 points``."""
    return f"{100 * drop:g} point{'' if drop == 0.01 else 's'}"


def interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"[{_minus(f'{100 * low:.1f}')}, {_minus(f'{100 * high:.1f}')}]"


def plus_minus(row: pd.Series) -> str:
    """Accuracy in % ± half of its interval."""
    if pd.isna(row["accuracy"]):
        return DASH
    half = (row["high"] - row["low"]) / 2
    return percent(row["accuracy"]) + ("" if pd.isna(half) else f" ±{100 * half:.1f}")


def _minus(number: str) -> str:
    """A minus sign instead of a hyphen, and no sign before zero."""
    return number.lstrip("+-") if float(number) == 0 else number.replace("-", "−")


def times(value: float) -> str:
    return DASH if pd.isna(value) else f"{value:.2f}×"


def timing(points: pd.DataFrame) -> str:
    """A sentence that names the devices on which times were measured, and the seeds if not all of them were timed; with a space
    after it, empty if there are no times."""
    devices = (
        [device for device in points["time_device"].dropna().unique() if device] if "time_device" in points else []
    )
    seeds = timed_seeds(points) if "seed" in points else next(filter(None, points.get("timed_seeds", ())), "")
    only = f", {seeds} only" if seeds else ""
    return f"Time: measured one image at a time on {' and '.join(devices)}{only}. " if devices else ""


def drop_table(summary: pd.DataFrame, metric: Metric = ACCURACY) -> Table:
    """Operating points by accuracy drop, and fixed thresholds: the metric, and the speed-up in layers, in MACs and, where it
    was measured, in time."""
    header: tuple[str, ...] = (
        "Method",
        "Point",
        f"{metric.title} (%)",
        "Drop (points)",
        "Mean block",
        "Layers",
        "MACs",
    )
    shown = summary[summary["kind"].isin([STATIC, "accuracy-drop", "fixed"])]
    timed = bool(shown[shown["kind"] != STATIC]["time_speedup"].notna().any())
    header += ("Time",) if timed else ()
    redrawn = has_redrawn(shown)
    header += ("MACs, val bootstrapped",) if redrawn else ()
    rows = []
    for _, row in shown.iterrows():
        if row["kind"] == STATIC or row["policy"] == NO_POLICY:
            point = "no exits"
        elif row["kind"] == "fixed":
            point = f"fixed at {row['target']:g}" if row["target"] else "fixed"
        else:
            point = "no drop" if row["target"] == 0 else f"≤ {points(row['target'])}"
        if not row["reached"]:
            rows.append((row["label"], point, "not reached", *[DASH] * (len(header) - 3)))
            continue
        accuracy = f"{percent(row['accuracy'])} {interval(row['low'], row['high'])}".strip()
        drop = DASH if row["kind"] == STATIC else signed(row["drop"])
        speed = [f"{row['mean_block']:.1f}", times(row["layer_speedup"]), times(row["mac_speedup"])]
        if timed:
            speed.append(times(row["time_speedup"]))
        if redrawn:
            low, high = row["mac_redrawn_low"], row["mac_redrawn_high"]
            speed.append(DASH if pd.isna(low) else f"[{low:.2f}, {high:.2f}]")
        rows.append((row["label"], point, accuracy, drop, *speed))
    return Table(header, tuple(rows), keys=2)


def has_redrawn(summary: pd.DataFrame) -> bool:
    """Whether a row has intervals over val and test images."""
    return "mac_redrawn_low" in summary and bool(summary["mac_redrawn_low"].notna().any())


def budget_table(summary: pd.DataFrame, contrasts: Mapping[tuple[str, float], Contrast]) -> Table:
    """The test accuracy, or other metric, at equal MACs.

    Args:
        summary: of `results.tables.points`.
        contrasts: the reference minus others, by label and budget. Cells of others that are ahead of it are bold, of those
            behind it underlined.
    """
    equal = summary[summary["kind"] == "equal-macs"]
    targets = sorted(equal["target"].unique())
    header = ("Method", *(f"{target:g} × MACs" for target in targets))
    rows: list[tuple[str, ...]] = []
    marked: dict[str, set[tuple[int, int]]] = {AHEAD: set(), BEHIND: set(), OPEN: set()}
    for label in dict.fromkeys(equal["label"]):
        cells = [label]
        for column, target in enumerate(targets, start=1):
            row = equal[(equal["label"] == label) & (equal["target"] == target)].iloc[0]
            cells.append(f"{percent(row['accuracy'])} {interval(row['low'], row['high'])}".strip())
            if (label, target) in contrasts:
                marked[contrasts[label, target].result].add((len(rows), column))
        rows.append(tuple(cells))
    # The reference is behind those that are ahead of it.
    return Table(header, tuple(rows), frozenset(marked[BEHIND]), frozenset(marked[AHEAD]))


def backbone_table(backbones: pd.DataFrame, metric: Metric = ACCURACY) -> Table:
    """Data and backbones without exits, one row per dataset and backbone.

    Args:
        backbones: of `results.tables.backbones`.
        metric: of the column `accuracy`.
    """
    header = (
        "Data",
        "Backbone",
        "Train / val / test",
        "Classes",
        "Largest class",
        metric.title,
        "Balanced",
        "Lowest recall",
    )
    rows = []
    for (dataset, backbone), group in backbones.groupby(["dataset", "backbone"], sort=False):
        first = group.iloc[0]
        sizes = " / ".join(f"{first[split]:,}" for split in ("train", "val", "test"))
        shares = (group[name].mean() for name in ("majority_share", "accuracy", "balanced_accuracy", "lowest_recall"))
        rows.append((str(dataset), str(backbone), sizes, str(first["classes"]), *map(percent, shares)))
    return Table(header, tuple(rows))


def cost_columns(runs: list[Run]) -> Table:
    """MACs up to each exit, in millions, every head on the way included, and the parameters of all heads."""
    exiting = {run.method: run for run in runs if run.has_exits}
    blocks = sorted({exit_.block for run in exiting.values() for exit_ in run.record.exits})
    header = ("Method", *map(str, blocks), "Heads (k par.)")
    rows = []
    for method, run in exiting.items():
        costs = run.record.costs
        at = {exit_.block: macs for exit_, macs in zip(run.record.exits, costs.cumulative, strict=True)}
        cells = [_millions(at[block]) if block in at else DASH for block in blocks]
        parameters = DASH if run.record.is_external else f"{costs.heads_parameters / 1e3:.1f}"
        rows.append((method, *cells, parameters))
    costs = runs[0].record.costs
    last = costs.depth if costs.depth in blocks else blocks[-1]
    rows.append((STATIC, *(_millions(costs.baseline) if block == last else DASH for block in blocks), DASH))
    return Table(header, tuple(rows))


def learning_rate_table(runs: list[Run]) -> Table:
    """The learning rates tried for each method, smallest first; the chosen one is bold."""
    tuned = [run for run in runs if run.tried]
    most = max(len(run.tried) for run in tuned)
    rows, bold = [], set()
    for r, run in enumerate(tuned):
        cells = [f"{tried.rates}: {percent(tried.val_accuracy)}" for tried in run.tried]
        bold |= {(r, c) for c, tried in enumerate(run.tried, start=2) if tried.chosen}
        rows.append((run.method, str(run.seed), *cells, *[DASH] * (most - len(cells))))
    rate = f"Rate: {runs[0].metric.name}"
    return Table(("Method", "Seed", *[rate] * most), tuple(rows), frozenset(bold))


def _millions(macs: int) -> str:
    value = macs / 1e6
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def markdown(tables: Iterable[tuple[str, Table]]) -> str:
    """Tables as GitHub renders them."""
    parts = []
    for caption, table in tables:
        rule = ["---"] + ["---" if table.words else "---:"] * (len(table.header) - 1)
        cells = [
            [_marked(_markdown(cell), (r, c) in table.bold, (r, c) in table.underlined) for c, cell in enumerate(row)]
            for r, row in enumerate(table.rows)
        ]
        lines = ["| " + " | ".join(row) + " |" for row in ([_markdown(name) for name in table.header], rule, *cells)]
        parts.append("\n".join([_markdown(caption), "", *lines, ""]))
    return "\n".join(parts)


def _marked(cell: str, bold: bool, underlined: bool) -> str:
    return f"**{cell}**" if bold else f"<ins>{cell}</ins>" if underlined else cell


def _markdown(text: str) -> str:
    """Text that Markdown renders unchanged: no HTML, links, images, emphasis or table cells of its own."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|~#!])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # inside a word it is no emphasis
    return re.sub(r"\](?=\s*[(\[:])", r"\\]", text)  # only such brackets are links; intervals stay readable
