"""Exit schemes and numbers of exits: the same method in groups that differ in their exits only."""

from __future__ import annotations

from itertools import combinations

from reports.blocks import Block, Heading, Shown, Text
from reports.names import COUNTED
from reports.study import DROP, HALF, LGVIT, ComparisonGroup, Study
from reports.tables import DASH, Table, plus_minus, times
from reports.words import compared
from results.judge.contrast import contrast, corrected


def schemes(study: Study) -> list[Block]:
    """Exit schemes with the same number of exits."""
    blocks: list[Block] = []
    for settings in _comparable(study):
        by_count: dict[object, list[ComparisonGroup]] = {}
        for setting in settings:
            by_count.setdefault(len(_blocks(setting)), []).append(setting)
        chosen = max(by_count.values(), key=len)
        if len({setting.where["scheme"] for setting in chosen}) > 1:
            blocks += _question(study, chosen, len(list(_comparable(study))) > 1, "exit scheme", _scheme)
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
                blocks += _question(
                    study, ordered, len(list(_comparable(study))) > 1, f"number of exits, placed {rule}", _count
                )
    return blocks


def _comparable(study: Study) -> list[list[ComparisonGroup]]:
    """Groups that differ in their exits only."""
    by_rest: dict[tuple[str, ...], list[ComparisonGroup]] = {}
    for setting in study.settings:
        key = tuple(value for name, value in setting.where.items() if name != "scheme")
        by_rest.setdefault(key, []).append(setting)
    return [settings for settings in by_rest.values() if len(settings) > 1]


def _question(study: Study, settings: list[ComparisonGroup], named: bool, what: str, name: object) -> list[Block]:
    assert callable(name)
    names = [name(setting) for setting in settings]
    methods = [
        method
        for method in dict.fromkeys(label for setting in settings for label in setting.methods)
        if sum(method in setting.methods for setting in settings) > 1
    ]
    if not methods:
        return []
    where = settings[0].place
    header = ("Method", *names)
    rows = [(study.display[method], *(_cell(setting, method) for setting in settings)) for method in methods]
    blocks: list[Block] = [Heading(where)] if named else []
    blocks += [Text(_placed(settings, names))]
    blocks += [Text(_sentence(study, settings, names, method)) for method in _described(methods)]
    caption = (
        f"Test accuracy (%) at half of the MACs by {what}, {where}; in brackets the speed-up in MACs with at most 1 "
        "point lost on val. ±: half of the 95 % interval, over training seeds where there are several, else over "
        "test images."
    )
    return [*blocks, Shown(caption, Table(header, tuple(rows)), narrow=len(header) <= 3)]


def _described(methods: list[str]) -> list[str]:
    """The methods that get a sentence: LGViT first, at most four."""
    return sorted(methods, key=lambda name: name != LGVIT)[:4]


def _placed(settings: list[ComparisonGroup], names: list[str]) -> str:
    places = [f"{name}: {' '.join(map(str, _blocks(setting)))}" for setting, name in zip(settings, names, strict=True)]
    return f"Exits after blocks; {'; '.join(places)}. These placements are ours; the lists of the paper are not known."


def _sentence(study: Study, settings: list[ComparisonGroup], names: list[str], method: str) -> str:
    """The best placement of a method compared with each other one, on the same test images."""
    candidates = [(n, s, s.at(HALF)) for n, s in zip(names, settings, strict=True)]
    placements = [
        (n, s, rows[rows["label"] == method].iloc[0]) for n, s, rows in candidates if method in set(rows["label"])
    ]
    if len(placements) < 2:
        return f"{study.display[method]}: at most one placement reaches half of the MACs."
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
    at_drop = [(n, rows[rows["label"] == method]) for n, rows in ((n, s.at(DROP)) for n, s, _ in placements)]
    speeds = [(n, rows.iloc[0]["mac_speedup"]) for n, rows in at_drop if not rows.empty]
    more = ""
    if speeds:
        best = max(speeds, key=lambda entry: entry[1])
        more = f" With at most 1 point lost on val, {best[0]} has the largest speed-up in MACs, {times(best[1])}."
    return (
        f"{study.display[method]}, at half of the MACs: the accuracy is highest with {name}, {plus_minus(row)} %, "
        f"{'; '.join(parts)}.{more}"
    )


def _cell(setting: ComparisonGroup, method: str) -> str:
    half, drop = (rows[rows["label"] == method] for rows in (setting.at(HALF), setting.at(DROP)))
    if method not in setting.methods:
        return DASH
    at_half = "not reached" if half.empty else plus_minus(half.iloc[0])
    return at_half if drop.empty else f"{at_half} ({times(drop.iloc[0]['mac_speedup'])})"


def _blocks(setting: ComparisonGroup) -> tuple[int, ...]:
    return tuple(exit_.block for exit_ in setting.leading.record.exits[:-1])


def _scheme(setting: ComparisonGroup) -> str:
    match = COUNTED.fullmatch(setting.where["scheme"])
    return match["rule"] if match else setting.where["scheme"]


def _count(setting: ComparisonGroup) -> str:
    return f"{len(_blocks(setting))} exits"
