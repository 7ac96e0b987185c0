"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.tables import interval, signed
from results.judge.contrast import AHEAD, BEHIND, OPEN, Contrast

MANY = 6
IN_FULL = 4
"""Largest number of differences with intervals and p-values in one sentence."""


def join(parts: Sequence[str], comma: str = ",") -> str:
    return (
        parts[0]
        if len(parts) == 1
        else f"{f'{comma} '.join(parts[:-1])}{comma if comma != ',' else ''} and {parts[-1]}"
    )


def few(parts: Sequence[str]) -> str:
    """The parts joined; if there are more than `MANY`, the first ones and the number of the others."""
    return (
        join(list(parts))
        if len(parts) <= MANY
        else f"{', '.join(parts[: MANY - 1])} and {len(parts) - MANY + 1} others"
    )


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def by_size(entries: Sequence[tuple[float, str]]) -> list[str]:
    """The texts, in order of decreasing absolute value."""
    return [text for _, text in sorted(entries, key=lambda entry: -abs(entry[0]))]


def difference(contrast: Contrast) -> str:
    """``+1.2 points [0.4, 2.0], p = 0.003``; with the number of seeds where the two methods do not have the same."""
    value = contrast.estimate
    text = f"{signed(value.value)} points {interval(value.low, value.high)}".rstrip()
    if contrast.seeds < contrast.seeds_run:
        return f"{text} in {contrast.seeds} of {contrast.seeds_run} seeds"
    return f"{text}, {p_value(contrast.p)}"


def brief(contrast: Contrast) -> str:
    """The difference in points alone; with the number of seeds where the two methods do not have the same."""
    text = signed(contrast.estimate.value)
    return text if contrast.seeds == contrast.seeds_run else f"{text} in {contrast.seeds} of {contrast.seeds_run} seeds"


def p_value(p: float) -> str:
    """``p = 0.003``, with one significant digit below 0.01 and two above."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.1g}" if p < 0.01 else f"p = {p:.2g}"


def compared(
    contrasts: Mapping[str, Contrast],
    ahead: str = "ahead of",
    behind: str = "behind",
    undecided: str = "not shown to differ from",
) -> list[str]:
    """The results of one method against others, by label: ``ahead of a (...)``, ``behind b (...)`` and so on."""
    parts = []
    describe = difference if len(contrasts) <= IN_FULL else brief
    for result, words in ((AHEAD, ahead), (BEHIND, behind), (OPEN, undecided)):
        entries = [
            (contrast.estimate.value, f"{label} ({describe(contrast)})")
            for label, contrast in contrasts.items()
            if contrast.result == result
        ]
        parts += [f"{words} {few(by_size(entries))}"] if entries else []
    return parts
