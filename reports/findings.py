"""Sentences that carry measured numbers. None of them judges a claim of the paper; `reports.sections.claims` "
"has those that do."""

from __future__ import annotations

import pandas as pd

from reports.sections.claims import verdict_sentence
from reports.study import DROP, HALF, Setting, Study
from reports.tables import interval, percent, signed, times
from reports.words import by_size, counted, few, join
from results.judge.claims import on_paper_scale
from results.judge.ranking import is_told_apart, pooled
from results.tables.run import STATIC, Run

MANY = 7
FEW = 5
"""More methods than these are told by from which to which, or at half of the MACs alone."""


def is_paper_scale(study: Study, run: Run) -> bool:
    """Whether a run may judge a claim of the paper, given enough seeds."""
    return on_paper_scale(run, study.claims)


def abstract(study: Study) -> list[str]:
    """The abstract's sentences: what was run, what came out in the first setting, and the verdicts."""
    setting = study.main[0]
    methods = len({run.method for run in study.runs if run.has_exits})
    seeds = len({run.seed for run in study.runs})
    where = join(list(dict.fromkeys(f"{s.where['backbone']} on {s.where['dataset']}" for s in study.main)))
    sentences = [
        f"This report stands on {counted(len(study.runs), 'run')} of {counted(methods, 'method')} with early exits and the "
        f"backbones without, {counted(seeds, 'training seed')}: {where}.",
        *_without_exits(setting),
    ]
    sentences += _kept(setting) if setting.totals["label"].nunique() <= MANY else _ranges(setting)
    return [*sentences, *verdict_sentence(study)]


def _without_exits(setting: Setting) -> list[str]:
    static = setting.totals[setting.totals["kind"] == STATIC]
    if static.empty:
        return []
    row, images = static.iloc[0], setting.runs[0].record.data
    return [
        f"The {row['backbone']} without exits answers {percent(row['accuracy'])} % {interval(row['low'], row['high'])} of "
        f"{images.sizes['test']:,} test images of {row['dataset']} right."
    ]


def _kept(setting: Setting) -> list[str]:
    sentences, half, one = [], setting.at(HALF), setting.at(DROP)
    if not half.empty:
        parts = [f"{row['label']} {percent(row['accuracy'])} %" for _, row in half.iterrows()]
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, the exits keep: {join(parts)}."
        )
    sentences += against_others(setting.pairs, lgvit_of(setting.pairs), 0.5)
    if not one.empty:
        parts = [
            f"{row['label']} {times(row['mac_speedup'])} ({times(row['layer_speedup'])})" for _, row in one.iterrows()
        ]
        drops = [signed(row["drop"]) for _, row in one.iterrows()]
        sentences.append(
            "Allowed to lose at most 1 point on val, they save MACs by a factor of (in brackets: layers, as the paper counts) "
            f"{join(parts)}; {'their drops on test are then' if len(drops) > 1 else 'the drop on test is then'} "
            f"{join(drops)} points."
        )
    return sentences


def _ranges(setting: Setting) -> list[str]:
    """Where there are too many rows to name each: from which to which, and where LGViT is."""
    sentences, half, one = [], setting.at(HALF), setting.at(DROP)
    lgvit = lgvit_of(setting.pairs)
    if not half.empty:
        ordered = half.sort_values("accuracy")
        worst, best, mine = ordered.iloc[0], ordered.iloc[-1], half[half["label"] == lgvit]
        own = f"; {lgvit} keeps {percent(mine.iloc[0]['accuracy'])} %" if not mine.empty else ""
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, the {len(half)} {_rows(setting)} keep from "
            f"{percent(worst['accuracy'])} % ({worst['label']}) to {percent(best['accuracy'])} % ({best['label']}){own}."
        )
    sentences += against_others(setting.pairs, lgvit, 0.5)
    if not one.empty:
        ordered = one.sort_values("mac_speedup")
        worst, best, mine = ordered.iloc[0], ordered.iloc[-1], one[one["label"] == lgvit]
        own = ""
        if not mine.empty:
            row = mine.iloc[0]
            own = (
                f"; {lgvit} by {times(row['mac_speedup'])} ({times(row['layer_speedup'])} in layers, as the paper "
                f"counts), with a drop of {signed(row['drop'])} points on test"
            )
        sentences.append(
            "Allowed to lose at most 1 point on val, they save MACs by factors from "
            f"{times(worst['mac_speedup'])} ({worst['label']}) to {times(best['mac_speedup'])} ({best['label']}){own}."
        )
    return sentences


def _rows(setting: Setting) -> str:
    return "methods" if len({run.method for run in setting.exiting}) > 1 else "policies"


def details(setting: Setting) -> list[str]:
    """Paragraphs of the results about one setting: single exits, what the heads cost, and every budget in turn."""
    shallow: dict[str, list[float]] = {}
    price: dict[str, float] = {}
    for run in setting.exiting:
        shallow.setdefault(run.method, []).append(run.record.exits[0].test_accuracy)
        costs = run.record.costs
        price[run.method] = costs.cumulative[-1] / costs.baseline - 1
    first = {method: sum(found) / len(found) for method, found in shallow.items()}
    block = {run.record.exits[0].block for run in setting.exiting}
    paragraphs = []
    if len(block) == 1:
        paragraphs.append(
            f"Asked about every test image, the first exit (after block {block.pop()}) answers right: {_told(first)}."
        )
    paragraphs.append(
        "Heads are not free, and layers do not show it: an image that passes every exit without leaving costs more than in the "
        f"backbone without exits, namely {_told(price)}."
    )
    equal = setting.pairs[setting.pairs["kind"] == "equal-macs"]
    budgets = sorted(equal["target"].unique())
    if len(setting.methods) > FEW:
        budgets = [budget for budget in budgets if budget == HALF[1]]  # the table has the others
    for budget in budgets:
        sentences = against_others(setting.pairs, lgvit_of(setting.pairs), budget)
        paragraphs += [sentence.replace("There,", f"At {budget:g} of the MACs,", 1) for sentence in sentences]
    detectable = setting.pairs_at(HALF)["detectable"]
    if not detectable.empty:
        paragraphs.append(
            f"With these {setting.over}, a true difference between two methods at half of the MACs may be missed "
            "if it is below "
            f"{100 * detectable.max():.1f} points, the detectable difference of the pair that varies most."
        )
    return paragraphs


def _told(values: dict[str, float]) -> str:
    """Each method's share in %, or from which to which where there are many; once where all are alike."""
    if len(values) > 1 and len(shown := {f"{100 * value:.1f} %" for value in values.values()}) == 1:
        return f"{shown.pop()} for every method"
    if len(values) <= MANY:
        return join([f"{name} {100 * value:.1f} %" for name, value in values.items()])
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return f"from {100 * values[low]:.1f} % ({low}) to {100 * values[high]:.1f} % ({high})"


def limits(study: Study) -> list[str]:
    """What this set of runs cannot show."""
    runs, seeds = study.runs, {run.seed for run in study.runs}
    found = []
    if not all(is_paper_scale(study, run) for run in runs):
        found.append(
            "Data, backbone and training are far from the paper's scale; its claims are neither supported nor refuted."
        )
    if len(seeds) == 1:
        found.append("There is one training seed: the intervals speak of other test images, not of other trainings.")
    elif len(seeds) < 5:
        found.append(f"There are {len(seeds)} training seeds; a headline needs at least 5.")
    if not any(run.latencies for run in runs):
        found.append("Speed-ups are counted, in layers and in MACs; no time was measured.")
    return found


def lgvit_of(comparisons: pd.DataFrame) -> str:
    """The label of LGViT, with or without options; where the rows are policies of one method, that of the first."""
    names = list(dict.fromkeys([*comparisons["first"], *comparisons["second"]]))
    return next((name for name in names if name.split("(")[0].split(",")[0] == "lgvit"), names[0] if names else "lgvit")


def against_others(comparisons: pd.DataFrame, method: str, budget: float) -> list[str]:
    """One sentence: ``method`` against each other one at equal MACs, ranked only beyond the detectable difference."""
    rows = comparisons[(comparisons["kind"] == "equal-macs") & (comparisons["target"] == budget)]
    rows = rows[(rows["first"] == method) | (rows["second"] == method)]
    if rows.empty:
        return []
    above: list[tuple[float, str]] = []
    below: list[tuple[float, str]] = []
    open_: list[tuple[float, str]] = []
    for _, row in (rows if "seeds" in rows else pooled(rows)).iterrows():
        sign = 1 if row["first"] == method else -1
        other = row["second"] if sign == 1 else row["first"]
        low, high = sorted((sign * row["low"], sign * row["high"]))
        text = f"{other} ({signed(sign * row['difference'])} points {interval(low, high)})"
        if not is_told_apart(row["difference"], row["low"], row["high"], row["detectable"]):
            open_.append((row["difference"], text))
        else:
            (above if sign * row["difference"] > 0 else below).append((row["difference"], text))
    parts = [
        *([f"ahead of {few(by_size(above))}"] if above else []),
        *([f"behind {few(by_size(below))}"] if below else []),
        *([f"not to be told apart from {few(by_size(open_))}"] if open_ else []),
    ]
    return [f"There, on the same images, {method} is {'; '.join(parts)}."]
