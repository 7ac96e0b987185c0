"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from reports.tables import interval, signed
from results.judge.contrast import Contrast

MANY = 6


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
    """``+1.2 points [0.4, 2.0]``."""
    value = contrast.estimate
    return f"{signed(value.value)} points {interval(value.low, value.high)}"


def ranked(contrast: Contrast) -> str:
    """Ahead, behind or not shown to differ."""
    if not contrast.told_apart:
        return "not shown to differ"
    return "ahead" if contrast.estimate.value > 0 else "behind"
