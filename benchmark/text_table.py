"""Plain text that fits the terminal: tables leave columns out, lines break between words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

GAP = "  "


def text_table(
    columns: Mapping[str, Sequence[str]], width: int, *, optional: Sequence[str] = (), right: Sequence[str] = ()
) -> list[str]:
    """The lines of a table, the heading first.

    Args:
        columns: heading to the cells of each row; all columns have the same length.
        width: of the terminal, in characters.
        optional: headings of columns that may be left out where the table is too wide, the first one first.
        right: headings of columns that are aligned to the right.
    """
    widths = _widths(columns, width, optional)
    rows = [list(widths), *zip(*(columns[name] for name in widths), strict=True)]
    return [
        GAP.join(
            cell.rjust(size) if name in right else cell.ljust(size)
            for cell, (name, size) in zip(row, widths.items(), strict=True)
        ).rstrip()
        for row in rows
    ]


def left_out(columns: Mapping[str, Sequence[str]], width: int, optional: Sequence[str]) -> list[str]:
    """The headings of the columns that `text_table` leaves out."""
    kept = _widths(columns, width, optional)
    return [name for name, cells in columns.items() if cells and name not in kept]


def _widths(columns: Mapping[str, Sequence[str]], width: int, optional: Sequence[str]) -> dict[str, int]:
    """The widths of the columns that fit the terminal."""
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items() if cells}
    for name in optional:
        if sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        widths.pop(name, None)
    return widths


def without_constants(
    columns: Mapping[str, Sequence[str]], candidates: Sequence[str]
) -> tuple[dict[str, Sequence[str]], str]:
    """Take the columns of one value out of a table.

    Args:
        columns: heading to cells.
        candidates: headings of columns that may be taken out.

    Returns:
        the other columns, and a sentence with what was taken out; empty if nothing was.
    """
    constant = {name: columns[name][0] for name in candidates if columns[name] and len(set(columns[name])) == 1}
    left = {name: cells for name, cells in columns.items() if name not in constant}
    return left, ", ".join(f"{name} {value}" for name, value in constant.items())


def wrapped(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """A text as lines that break between words only, so that paths, commands and names can be copied.

    Args:
        text: on one line.
        width: of the terminal, in characters.
        first: what the first line starts with.
        rest: what the other lines start with; by default spaces below `first`.
    """
    indent = " " * len(first) if rest is None else rest
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
