"""The main table in the form of the paper: a row per method, columns per backbone and dataset."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Shown
from reports.captioned import marks, noted
from reports.comparison_group import HALF, ComparisonGroup
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, percent, plus_minus, renamed, times, timing
from reports.words import join
from results.judge.contrast import AHEAD, BEHIND
from results.metric import ACCURACY, Metric
from results.tables.run import STATIC, Run

SIDE_BY_SIDE = 2
"""Groups in one table; more do not fit on the page."""
LAST = 10
LONG = 24
"""A name with more characters gets a table with one group only."""


def main_table(study: Study) -> list[Block]:
    blocks: list[Block] = []
    for settings in _side_by_side(study.main):
        where = study.where(settings[0]) if len(study.main) == 1 else ""
        text = f"{_caption(study.metric, where)} {timing(study.points)}{_where(study)}"
        if blocks:
            text = f"Main results on {join([setting.name for setting in settings])}, as in {ref('main-1')}."
        text += "".join(dict.fromkeys(marks(setting, study.display) for setting in settings if setting.contrasts))
        text = noted(text, study.metric)
        table = renamed(_table(study, settings), study.display)
        runs = [run for setting in settings for run in setting.runs]
        blocks.append(Shown(text, table, name=f"main-{len(blocks) + 1}", source=source(runs, "points")))
    return blocks


def paper_layout(study: Study) -> Shown:
    """The layout of the LGViT paper: rows are methods, columns are accuracy and speed-up for each backbone and dataset."""
    labels = _ordered(study.main)
    rows = []
    for label in labels:
        cells = [study.display[label]]
        for setting in study.main:
            shown = setting.shown
            row = shown[(shown["label"] == label) & shown["reached"]]
            cells += (
                [DASH, DASH] if row.empty else [percent(row.iloc[0]["accuracy"]), times(row.iloc[0]["layer_speedup"])]
            )
        rows.append(tuple(cells))
    header = ("Method", *(text for setting in study.main for text in (f"{setting.metric.short} (%)", "Speed-up")))
    groups = (("", 1), *((setting.name, 2) for setting in study.main))
    caption = (
        f"{study.metric.title} on test, and speed-up in layers (heads cost nothing) over the backbone without exits, for the "
        "cheapest threshold that loses at most 1 point on val, or the method's fixed threshold."
    )
    return Shown(noted(caption, study.metric), Table(header, tuple(rows), groups=groups))


def _side_by_side(settings: list[ComparisonGroup]) -> list[list[ComparisonGroup]]:
    """Groups that share a table: neighbours, as long as the table fits on the page and most rows are in both."""
    tables: list[list[ComparisonGroup]] = []
    for setting in settings:
        labels = set(setting.totals["label"])
        last = tables[-1] if tables else []
        last_labels = set(last[-1].totals["label"]) if last else set()
        narrow = max(map(len, labels | last_labels)) <= LONG
        if last and len(last) < SIDE_BY_SIDE and narrow and 2 * len(labels & last_labels) >= len(labels | last_labels):
            last.append(setting)
        else:
            tables.append([setting])
    return tables


def _caption(metric: Metric, where: str) -> str:
    return (
        f"Main results on test{where}. ½ MACs: {metric.name} (%) where the mean cost is half of the MACs of the backbone "
        "without exits, every evaluated head counted. To its right, the cheapest threshold that loses at most 1 point on val, "
        f"or the method's fixed threshold: {metric.name} (%), mean MACs of an image, and the speed-up in layers (heads free), "
        "in MACs and, where it was measured, in time."
    )


def _where(study: Study) -> str:
    kinds = {setting.over for setting in study.main}
    if kinds == {"training seeds"}:
        return "±: half of the 95 % t interval over training seeds."
    if kinds == {"test images"}:
        wilson = " Wilson" if study.metric is ACCURACY else ""
        return f"±: half of the 95 %{wilson} interval over test images, given the thresholds chosen on val."
    return "±: half of the 95 % interval, over training seeds where there are several, else over test images."


def _table(study: Study, settings: list[ComparisonGroup]) -> Table:
    timed = [bool(setting.shown["time_speedup"].drop(_static(setting)).notna().any()) for setting in settings]
    header, groups = ["Method"], [("", 1)]
    for setting, has_time in zip(settings, timed, strict=True):
        mega = _unit(setting)[1]
        columns = [
            "Param.",
            "½ MACs",
            setting.metric.short,
            f"MACs ({mega})",
            "Layers",
            "MACs",
            *(["Time"] if has_time else []),
        ]
        header += columns
        groups.append((setting.name, len(columns)))
    labels = _ordered(settings)
    rows, bold, underlined = [], set(), set()
    for r, label in enumerate(labels):
        cells = [label]
        for setting, has_time in zip(settings, timed, strict=True):
            contrast = setting.contrasts.get((label, HALF[1]))
            # The reference is behind those that are ahead of it.
            if contrast is not None and contrast.result == BEHIND:
                bold.add((r, len(cells) + 1))
            if contrast is not None and contrast.result == AHEAD:
                underlined.add((r, len(cells) + 1))
            cells += _cells(setting, label, has_time=has_time)
        rows.append(tuple(cells))
    spans = tuple(groups) if len(study.main) > 1 else ()
    return Table(tuple(header), tuple(rows), frozenset(bold), frozenset(underlined), spans)


def _ordered(settings: list[ComparisonGroup]) -> list[str]:
    """The row labels, in the order that the methods are registered with; methods of equal order stay as they came."""
    order = {
        setting.label(run, policy): run.record.method.table_order if run.method == run.record.method.name else LAST
        for setting in settings
        for run in setting.runs
        for policy in run.policies or [STATIC]
    }
    labels = dict.fromkeys(label for setting in settings for label in setting.totals["label"])
    return sorted(labels, key=lambda label: order.get(label, LAST))


def _static(setting: ComparisonGroup) -> pd.Index:
    shown = setting.shown
    return shown.index[shown["kind"] == STATIC]


def _cells(setting: ComparisonGroup, label: str, *, has_time: bool) -> list[str]:
    count = 7 if has_time else 6
    runs = [run for run in setting.runs if _is(setting, run, label)]
    if not runs:
        return [DASH] * count
    costs = runs[0].record.costs
    half, shown = setting.at(HALF), setting.shown
    half, shown = half[half["label"] == label], shown[(shown["label"] == label) & shown["reached"]]
    at_half = DASH if half.empty else plus_minus(half.iloc[0])
    if shown.empty:
        return [_count(costs.parameters), at_half, "not reached", *[DASH] * (count - 3)]
    row = shown.iloc[0]
    macs = DASH if label == STATIC else _mean_macs(setting, label, row)
    unit = _unit(setting)[0]
    cells = [
        _count(costs.parameters), at_half, plus_minus(row),
        f"{costs.baseline / unit:.2f}" if label == STATIC else macs, times(row["layer_speedup"]), times(row["mac_speedup"]),
    ]  # fmt: skip
    return [*cells, times(row["time_speedup"])] if has_time else cells


def _mean_macs(setting: ComparisonGroup, label: str, row: pd.Series) -> str:
    """Mean MACs of an image at the operating point of the row, over seeds."""
    macs = []
    for run in setting.runs:
        if _is(setting, run, label):
            point = row["kind"], row["target"], row["policy"]
            points = [p for p in run.record.points if (p.kind, p.target, p.policy) == point]
            macs += [point.test.mean_macs for point in points if point.test is not None]
    return f"{sum(macs) / len(macs) / _unit(setting)[0]:.2f}" if macs else DASH


def _is(setting: ComparisonGroup, run: Run, label: str) -> bool:
    return any(setting.label(run, policy) == label for policy in run.policies or [STATIC])


def _unit(setting: ComparisonGroup) -> tuple[float, str]:
    costs = setting.leading.record.costs
    return (1e9, "G") if costs.baseline >= 1e9 else (1e6, "M")


def _count(parameters: int) -> str:
    if parameters == 0:
        return DASH  # of an external run they are unknown
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"
