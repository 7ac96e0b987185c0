"""The main table in the paper's form: rows methods, columns backbone and data set."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Shown
from reports.study import HALF, LGVIT, Setting, Study, policies
from reports.tables import DASH, Table, plus_minus, times, timing
from results.judge.ranking import best_and_second
from results.tables.run import STATIC, Run

SIDE_BY_SIDE = 2
"""Settings in one table; more do not fit the page."""
LONG = 24
"""Characters of a name beyond which a table has one setting alone."""


def main_table(study: Study) -> list[Block]:
    blocks: list[Block] = []
    for settings in _side_by_side(study.main):
        text = "(Other settings.)" if blocks else f"{CAPTION} {timing(study.table)}{_where(study.main)}"
        blocks.append(Shown(text, _table(settings)))
    return blocks


def _side_by_side(settings: list[Setting]) -> list[list[Setting]]:
    """Neighbours share a table while it fits the page and most rows are in both."""
    found: list[list[Setting]] = []
    for setting in settings:
        mine = set(setting.totals["label"])
        before = found[-1] if found else []
        there = set(before[-1].totals["label"]) if before else set()
        narrow = max(map(len, mine | there)) <= LONG
        if before and len(before) < SIDE_BY_SIDE and narrow and 2 * len(mine & there) >= len(mine | there):
            before.append(setting)
        else:
            found.append([setting])
    return found


CAPTION = (
    "Main results on test. ½ MACs: accuracy (%) where the mean cost is half of the multiply-accumulates of the "
    "backbone without "
    "exits, every evaluated head counted. The columns right of it are of the cheapest threshold that loses at "
    "most 1 point on val, "
    "or of the method's fixed one: accuracy (%), mean MACs of an image, and the speed-up over the backbone "
    "without exits in layers "
    "(the paper's, heads free), in MACs and, where it was measured, in time. Bold: ahead of all others beyond the detectable "
    "difference; underlined: ahead of all but that one; without them nothing is ranked."
)


def _where(settings: list[Setting]) -> str:
    kinds = {setting.over for setting in settings}
    if kinds == {"seeds"}:
        return "±: half of the 95 % t interval over training seeds."
    if kinds == {"test images"}:
        return "±: half of the 95 % bootstrap interval over test images."
    return "±: half of the 95 % interval, over training seeds where there are several, else over test images."


def _table(settings: list[Setting]) -> Table:
    timed = [bool(setting.shown["time_speedup"].drop(_static(setting)).notna().any()) for setting in settings]
    header, groups = ["Method"], [("", 1)]
    for setting, has_time in zip(settings, timed, strict=True):
        mega = _unit(setting)[1]
        columns = ["Param.", "½ MACs", "Acc.", f"MACs ({mega})", "layers", "MACs", *(["time"] if has_time else [])]
        header += columns
        groups.append((f"{setting.where['backbone']},\n{setting.where['dataset']}", len(columns)))
    labels = sorted(dict.fromkeys(name for setting in settings for name in setting.totals["label"]), key=_order)
    ranks = [best_and_second(setting.pairs_at(HALF), setting.methods) for setting in settings]
    rows, bold, underlined = [], set(), set()
    for r, label in enumerate(labels):
        cells = [label]
        for setting, has_time, (best, second) in zip(settings, timed, ranks, strict=True):
            if label == best:
                bold.add((r, len(cells) + 1))
            if label == second:
                underlined.add((r, len(cells) + 1))
            cells += _cells(setting, label, has_time=has_time)
        rows.append(tuple(cells))
    return Table(tuple(header), tuple(rows), frozenset(bold), frozenset(underlined), tuple(groups))


def _order(label: str) -> int:
    """The backbone first, then what a user could take in place of exits, then LGViT, then the others as they came."""
    base = label.split("(")[0]
    return (
        (STATIC, "truncated", "next-smaller", LGVIT).index(base)
        if base in (STATIC, "truncated", "next-smaller", LGVIT)
        else 4
    )


def _static(setting: Setting) -> pd.Index:
    shown = setting.shown
    return shown.index[shown["kind"] == STATIC]


def _cells(setting: Setting, label: str, *, has_time: bool) -> list[str]:
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


def _mean_macs(setting: Setting, label: str, row: pd.Series) -> str:
    """Mean MACs of an image at the row's operating point, over seeds."""
    found = []
    for run in setting.runs:
        if _is(setting, run, label):
            point = row["kind"], row["target"], row["policy"]
            points = [p for p in run.record.points if (p.kind, p.target, p.policy) == point]
            found += [point.test.mean_macs for point in points if point.test is not None]
    return f"{sum(found) / len(found) / _unit(setting)[0]:.2f}" if found else DASH


def _is(setting: Setting, run: Run, label: str) -> bool:
    return any(setting.label(run, policy) == label for policy in policies(run) or [STATIC])


def _unit(setting: Setting) -> tuple[float, str]:
    costs = setting.leading.record.costs
    return (1e9, "G") if costs.baseline >= 1e9 else (1e6, "M")


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"
