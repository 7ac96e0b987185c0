"""How sentences say numbers and lists."""

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
    """The parts, or how many there are beyond the first ones."""
    return (
        join(list(parts))
        if len(parts) <= MANY
        else f"{', '.join(parts[: MANY - 1])} and {len(parts) - MANY + 1} others"
    )


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def by_size(found: Sequence[tuple[float, str]]) -> list[str]:
    """The texts, that of the largest number first, whatever its sign."""
    return [text for _, text in sorted(found, key=lambda entry: -abs(entry[0]))]


def difference(found: Contrast) -> str:
    """``+1.2 points [0.4, 2.0]``."""
    value = found.estimate
    return f"{signed(value.value)} points {interval(value.low, value.high)}"


def ranked(found: Contrast) -> str:
    """Ahead, behind or not told apart."""
    if not found.told_apart:
        return "not told apart"
    return "ahead" if found.estimate.value > 0 else "behind"
