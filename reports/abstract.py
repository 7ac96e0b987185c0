"""The abstract: question, setup, finding, how sure, limits; at most five sentences and few numbers, all of them in tables."""

from __future__ import annotations

from collections.abc import Container, Mapping

import pandas as pd

from reports.comparison_group import DROP, HALF, ComparisonGroup
from reports.findings import limits
from reports.sections.claims import judged_sentence
from reports.setup import OTHER_TASKS
from reports.study import Study
from reports.tables import interval, percent, times
from reports.weakness import one_exit, unconverged, weak_backbone, weakness
from reports.words import counted, few, join
from results.judge.contrast import AHEAD, BEHIND, OPEN, Contrast
from results.metric import one_metric
from results.tables.convergence import backbone_is_late
from results.tables.run import STATIC

NAMED = 3
"""Largest number of other methods that are named; more are counted."""
SETTINGS = 3
"""Largest number of settings that are named; more are counted."""


def abstract(study: Study) -> list[str]:
    """At most five sentences. Of a setting with a weak backbone, they say why it says little and name no speed-up.

    Methods whose heads have not converged are not ranked. If the reference is one of them, no method is. Of several tasks,
    there is one sentence about the first setting of each in place of the intervals.
    """
    setting, firsts = study.main[0], _first_of_each_task(study)
    first = [_question(firsts), _setup(study)]
    if len(firsts) > 1:
        found = [(weak_backbone(study, one) or _finding(study, one, unconverged(one)))[:1] for one in firsts]
        return [*first, *(sentence for sentences in found for sentence in sentences), *limits(study)[:1]]
    if weak_backbone(study, setting):
        return [*first, *weakness(study, setting)]
    gaps = unconverged(setting)
    finding, sure, last = _finding(study, setting, gaps), _sure(setting), judged_sentence(study) or limits(study)[:1]
    if setting.reference in gaps:
        sure = _unconverged(study, gaps, "the methods are not ranked")
        last = limits(study)[:1]  # claims rank methods
    elif gaps:
        last = _unconverged(study, gaps, "they are not ranked here")
    return [*first, *finding, *sure, *last]


def _first_of_each_task(study: Study) -> list[ComparisonGroup]:
    by_task: dict[str, ComparisonGroup] = {}
    for setting in study.main:
        by_task.setdefault(setting.leading.record.data.task, setting)
    return list(by_task.values())


def _question(firsts: list[ComparisonGroup]) -> str:
    names = [OTHER_TASKS.get(one.leading.record.data.task, "classification") for one in firsts]
    start = "How" if names == ["classification"] else f"In {join(names)}, how"
    speed = (
        f"{start} much of the speed-up that early exits give a Vision Transformer in layers remains in MACs and in time"
    )
    if all(len(one.methods) < 2 for one in firsts):
        return f"{speed}?"
    return f"{speed}, and which exits are {one_metric(one.metric for one in firsts).best} at equal cost?"


def _setup(study: Study) -> str:
    methods = len({run.method for run in study.runs if run.has_exits})
    places = _places(study)
    where = join(places) if len(places) <= SETTINGS else f"{places[0]} and {len(places) - 1} other settings"
    backbones = "backbone" if len({run.backbone for run in study.runs}) == 1 else "backbones"
    schemes: dict[str, set[str]] = {}
    for setting in study.settings:
        for run in setting.exiting:
            schemes.setdefault(run.method, set()).add(setting.where["scheme"])
    numbers = {len(of_method) for of_method in schemes.values()}
    up_to = "up to " if len(numbers) > 1 else ""
    placed = f" in {up_to}{max(numbers)} exit schemes" if max(numbers, default=0) > 1 else ""
    return (
        f"This report is based on {counted(len(study.runs), 'run')}: {counted(methods, 'method')} with early exits{placed} "
        f"and the {backbones} without exits, {_seed_counts(study)}, on {where}."
    )


def _places(study: Study) -> list[str]:
    """Backbone and data of the main groups; data that all have are named once, with the last."""
    names = [study.backbones[setting.where["backbone"]] for setting in study.main]
    data = [setting.where["dataset"] for setting in study.main]
    if len(set(data)) == 1:
        *first, last = dict.fromkeys(names)
        return [*first, f"{last} on {data[0]}"]
    return list(dict.fromkeys(f"{name} on {dataset}" for name, dataset in zip(names, data, strict=True)))


def _unconverged(study: Study, gaps: Mapping[str, float], consequence: str) -> list[str]:
    """The methods with heads that have not converged, and what follows from it."""
    names, gap = few(list(dict.fromkeys(study.display[label] for label in gaps))), 100 * max(gaps.values())
    return [
        f"Heads of {names} have not converged: a linear probe with the same inputs and loss is up to {gap:.1f} points more "
        f"accurate on test, so {consequence}."
    ]


def _finding(study: Study, setting: ComparisonGroup, unconverged: Container[str]) -> list[str]:
    """The speed-ups of the reference at `DROP`, its accuracy at `HALF`, and the tests there against converged methods."""
    name = study.display[setting.reference]
    speeds, half = _row(setting.shown, setting.reference), _row(setting.at(HALF), setting.reference)
    parts = []
    if speeds is not None:
        at = "that loses at most 1 point on val" if speeds["kind"] == DROP[0] else "that its grid fixed"
        counts = [f"{times(speeds['layer_speedup'])} in layers", f"{times(speeds['mac_speedup'])} in MACs"]
        seeds = f" ({speeds['timed_seeds']})" if speeds["timed_seeds"] else ""
        timed = [f"{times(speeds['time_speedup'])} in time{seeds}"] if pd.notna(speeds["time_speedup"]) else []
        where = one_exit(setting, study) if speeds["kind"] == DROP[0] else ""
        parts.append(
            # The time of the truncated backbone, which needs no dynamic inference, was not measured.
            f"{where}: {join(counts)}, as with a backbone truncated there{''.join(f', and {time}' for time in timed)}"
            if where
            else f"with the threshold {at}, the speed-up of {name} is {join([*counts, *timed])}"
        )
    if half is not None:
        text = f"at half of the MACs {name} {setting.metric.reaches(percent(half['accuracy']), ' of the test images')}"
        results = "" if setting.reference in unconverged else _against_others(study, setting, unconverged)
        parts.append(f"{text} and is {results}" if results else text)
    if not parts:
        return [f"{name} reaches none of the operating points."]
    if backbone_is_late(setting.runs):
        parts.append(
            f"the backbone has not converged (its val {setting.metric.name} still rose in the last quarter of its epochs), so "
            f"early exits may be {setting.metric.better} than it"
        )
    if len(study.settings) > 1:
        parts[0] = f"on {setting.name}, {parts[0]}"
    text = "; ".join(parts) + "."
    return [text[0].upper() + text[1:]]


def _against_others(study: Study, setting: ComparisonGroup, unconverged: Container[str]) -> str:
    """``ahead of 7, behind 1 and not shown to differ from 4 others``; few others are named."""
    contrasts = {
        label: contrast
        for (label, target), contrast in _decisive(setting).items()
        if target == HALF[1] and label not in unconverged
    }
    parts = []
    for result, words in ((AHEAD, "ahead of"), (BEHIND, "behind"), (OPEN, "not shown to differ from")):
        names = [study.display[label] for label, contrast in contrasts.items() if contrast.result == result]
        if names:
            parts.append(f"{words} {few(names) if len(contrasts) <= NAMED else counted(len(names), 'other')}")
    return join(parts) if parts else ""


def _decisive(setting: ComparisonGroup) -> dict[tuple[str, float], Contrast]:
    """The comparisons that the grid declared as primary; all, if it declared none at this point."""
    primary = {key: contrast for key, contrast in setting.contrasts.items() if contrast.is_primary}
    return primary if any(target == HALF[1] for _, target in primary) else setting.contrasts


def _sure(setting: ComparisonGroup) -> list[str]:
    row = _row(setting.at(HALF), setting.reference)
    if row is None or pd.isna(row["low"]):
        return []
    over = "training seeds" if row["interval"] == "seeds" else "test images"
    tests = ""
    if setting.contrasts:
        tests = (
            f"; differences are tested in pairs over {setting.tested_over}, with Holm's correction over {setting.tests}"
        )
    return [
        f"The 95 % interval of this {setting.metric.name} over {over} is {interval(row['low'], row['high'])}{tests}."
    ]


def _row(rows: pd.DataFrame, label: str) -> pd.Series | None:
    rows = rows[(rows["label"] == label) & rows["reached"] & (rows["kind"] != STATIC)]
    return None if rows.empty else rows.iloc[0]


def _seed_counts(study: Study) -> str:
    """The number of training seeds, or its range if it differs between methods."""
    counts = sorted({len(seeds) for group in study.main for seeds in group.contenders.values()} or {0})
    if len(counts) == 1:
        return counted(counts[0], "training seed")
    return f"{counts[0]} to {counted(counts[-1], 'training seed')} per method"
