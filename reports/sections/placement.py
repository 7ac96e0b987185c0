"""Exit schemes and numbers of exits: the same method in groups that differ in their exits only."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations

import pandas as pd

from reports.blocks import Block, Drawn, Text
from reports.comparison_group import DROP, HALF, ComparisonGroup
from reports.figures.placement import placement
from reports.names import BLOCKS, COUNTED
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import plus_minus
from reports.words import compared, join
from results.judge.contrast import contrast, corrected

MOST = 6
"""Largest number of methods in a figure."""


def schemes(study: Study) -> list[Block]:
    """Exit schemes with the same number of exits. Where each method has exits of its own, as published, a scheme is none."""
    blocks: list[Block] = []
    for settings in _comparable(study):
        by_count: dict[object, list[ComparisonGroup]] = {}
        for setting in settings:
            if len({run.record.spec.train.exits for run in setting.exiting}) == 1:
                by_count.setdefault(len(_blocks(setting)), []).append(setting)
        chosen = max(by_count.values(), key=len, default=[])
        if len({setting.where["scheme"] for setting in chosen}) > 1:
            blocks += _compared(study, chosen, "Exit schemes", _scheme)
    return blocks


def counts(study: Study) -> list[Block]:
    """Numbers of exits: groups whose scheme is the same rule with another count."""
    blocks: list[Block] = []
    for settings in _comparable(study):
        rules: dict[str, list[ComparisonGroup]] = {}
        for setting in settings:
            if match := COUNTED.fullmatch(setting.where["scheme"]):
                rules.setdefault(match["rule"], []).append(setting)
        for rule, chosen in rules.items():
            if len(chosen) > 1:
                ordered = sorted(chosen, key=lambda setting: len(_blocks(setting)))
                blocks += _compared(study, ordered, f"Number of exits ({rule})", _count)
    return blocks


def _comparable(study: Study) -> list[list[ComparisonGroup]]:
    """Groups that differ in their exits only."""
    by_rest: dict[tuple[str, ...], list[ComparisonGroup]] = {}
    for setting in study.settings:
        key = tuple(value for name, value in setting.where.items() if name != "scheme")
        by_rest.setdefault(key, []).append(setting)
    return [settings for settings in by_rest.values() if len(settings) > 1]


def _compared(
    study: Study, settings: list[ComparisonGroup], title: str, name: Callable[[ComparisonGroup], str]
) -> list[Block]:
    """One sentence about the reference and one figure of the methods that were run with several placements."""
    names = [name(setting) for setting in settings]
    methods = [
        method
        for method in dict.fromkeys(label for setting in settings for label in setting.methods)
        if sum(method in setting.methods for setting in settings) > 1
    ]
    if not methods:
        return []
    own = settings[0].reference if settings[0].reference in methods else methods[0]
    place = settings[0].place if len(_comparable(study)) > 1 else ""
    rows = _rows(settings, names, methods[:MOST])
    figure = placement(rows, names, study.looks, study.display, settings[0].metric.name, ordered=name is _count)
    file = f"{settings[0].number}-{re.sub('[^a-z]+', '-', title.lower()).strip('-')}"
    caption = (
        f"{title}{f', {place}' if place else ''}, after blocks: {_placed(settings, names)} Bars: 95 %, over training seeds "
        "where there are several, else over test images. A gap: half of the MACs is not reached."
    )
    runs = [run for setting in settings for run in setting.exiting]
    return [
        Text(f"{f'{place}: ' if place else ''}{_sentence(study, settings, names, own)} {ref(file)} shows all methods."),
        Drawn(caption, figure, file, source(runs, "points")),
    ]


def _rows(settings: list[ComparisonGroup], names: list[str], methods: list[str]) -> pd.DataFrame:
    """What the figure shows; see `reports.figures.placement`."""
    rows = []
    for setting, name in zip(settings, names, strict=True):
        half, drop = setting.at(HALF), setting.at(DROP)
        for method in methods:
            at_half, at_drop = (table[table["label"] == method] for table in (half, drop))
            values = {column: 100 * at_half[column].mean() for column in ("accuracy", "low", "high")}
            rows.append({"label": method, "placement": name, **values, "mac_speedup": at_drop["mac_speedup"].mean()})
    return pd.DataFrame(rows)


def _placed(settings: list[ComparisonGroup], names: list[str]) -> str:
    """The blocks of each placement; a scheme that lists its blocks says them by its name."""
    blocks = [" ".join(map(str, _blocks(setting))) for setting in settings]
    places = [text if name == f"{BLOCKS}{text}" else f"{name} {text}" for name, text in zip(names, blocks, strict=True)]
    published = [name for name in names if name in ("paper", "published")]
    but = f"all but {join(published)}: " if published else ""
    unknown = "" if published else "; those of the paper are not known"
    return f"{'; '.join(places)} ({but}placements of this suite{unknown})."


def _sentence(study: Study, settings: list[ComparisonGroup], names: list[str], method: str) -> str:
    """The best placement of a method compared with each other one, on the same test images."""
    candidates = [(n, s, s.at(HALF)) for n, s in zip(names, settings, strict=True)]
    placements = [
        (n, s, rows[rows["label"] == method].iloc[0]) for n, s, rows in candidates if method in set(rows["label"])
    ]
    own = study.display[method]
    if len(placements) < 2:
        return f"{own}: at most one placement reaches half of the MACs."
    placements.sort(key=lambda entry: -entry[2]["accuracy"])
    name, _, row = placements[0]
    # Which one is best is known only from these results, so the correction covers all pairs.
    family = {
        (first, second): result
        for (first, at, _), (second, against, _) in combinations(placements, 2)
        if (result := contrast(at.seeds_at(method, HALF), against.seeds_at(method, HALF))) is not None
    }
    results = {second: result for (first, second), result in corrected(family).items() if first == name}
    parts = compared(results) or ["compared with no other on the same images"]
    missing = [n for n in names if n not in {entry[0] for entry in placements}]
    does = "does" if len(missing) == 1 else "do"
    rest = f"; {join(missing)} {does} not reach it" if missing else ""
    best = f"the {settings[0].metric.name} is highest with {name} ({plus_minus(row)} %), {'; '.join(parts)}{rest}"
    return f"With {own} at half of the MACs, {best}."


def _blocks(setting: ComparisonGroup) -> tuple[int, ...]:
    return tuple(exit_.block for exit_ in setting.leading.record.exits[:-1])


def _scheme(setting: ComparisonGroup) -> str:
    match = COUNTED.fullmatch(setting.where["scheme"])
    return match["rule"] if match else setting.where["scheme"]


def _count(setting: ComparisonGroup) -> str:
    return f"{len(_blocks(setting))} exits"
