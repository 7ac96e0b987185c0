"""Tables as aligned text for a terminal: a wide table continues below itself, so nothing is left out and no word is broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from textwrap import fill, wrap

from reports.tables import Table
from results.text import printable

WIDTH = 80
"""Characters of a line."""
NAME = 28
"""Characters of the first column of a table that would be too wide; longer names break between words, as do cells that do not
fit beside the key columns."""
GAP = "  "


def plain(tables: Iterable[tuple[str, Table]], width: int = WIDTH) -> str:
    """Tables with their captions; a star marks cells that are bold elsewhere, a minus those that are underlined.

    A table that is wider than ``width`` is printed in several parts, each with the key columns.
    """
    parts = []
    for caption, table in tables:
        text = caption.replace("Bold:", "Star:").replace("underlined:", "minus:")
        parts.append("\n".join([fill(printable(text), width, break_long_words=False), *_lines(table, width), ""]))
    return "\n".join(parts)


def _lines(table: Table, width: int) -> list[str]:
    texts = [
        [printable(f"{cell}{_mark(table, r, c)}") for c, cell in enumerate(row)] for r, row in enumerate(table.rows)
    ]
    limits = [max(map(len, column)) for column in zip(table.header, *texts, strict=True)]
    if _total(limits) > width:
        limits[0] = min(limits[0], NAME)
        room = max(width - _total(limits[: table.keys]) - len(GAP), NAME)
        limits[table.keys :] = [min(limit, room) for limit in limits[table.keys :]]
    cells = [[_wrapped(text, limit) for text, limit in zip(row, limits, strict=True)] for row in texts]
    sizes = [max(map(len, [name, *(line for row in cells for line in row[c])])) for c, name in enumerate(table.header)]
    lines = []
    for columns in _parts(sizes, table.keys, width):
        widths = [sizes[c] for c in columns]
        rule = "-" * _total(widths)
        lines += [rule, _line([table.header[c] for c in columns], widths, table.words), rule]
        for row in cells:
            lines += [
                _line(line, widths, table.words) for line in zip_longest(*(row[c] for c in columns), fillvalue="")
            ]
    return lines


def _wrapped(text: str, limit: int) -> list[str]:
    """The lines of a cell."""
    return wrap(text, limit, break_long_words=False, break_on_hyphens=False) if len(text) > limit else [text]


def _parts(sizes: Sequence[int], keys: int, width: int) -> list[list[int]]:
    """The columns of each part of a table: the key columns, and as many others as fit."""
    start = list(range(keys))
    parts = [list(start)]
    for column in range(keys, len(sizes)):
        if len(parts[-1]) > keys and _total([sizes[c] for c in [*parts[-1], column]]) > width:
            parts.append(list(start))
        parts[-1].append(column)
    return parts


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _line(texts: Sequence[str], widths: Sequence[int], words: bool) -> str:
    """Words and the first column stand left, numbers right."""
    columns = enumerate(zip(texts, widths, strict=True))
    aligned = (text.ljust(width) if words or n == 0 else text.rjust(width) for n, (text, width) in columns)
    return GAP.join(aligned).rstrip()


def _mark(table: Table, row: int, column: int) -> str:
    return "*" if (row, column) in table.bold else "-" if (row, column) in table.underlined else ""
