"""Tables as aligned text for a terminal: a wide table continues below itself, so nothing is left out and no word is broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill, wrap

from reports.tables import Table
from results.text import printable

WIDTH = 80
"""Characters of a line."""
NAME = 28
"""Characters of the first column of a table that would be too wide; longer names break between words."""
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
    rows = [
        tuple(printable(f"{cell}{_mark(table, r, c)}") for c, cell in enumerate(row))
        for r, row in enumerate(table.rows)
    ]
    sizes = [max(map(len, column)) for column in zip(table.header, *rows, strict=True)]
    if _total(sizes) > width and sizes[0] > NAME:
        names = [wrap(row[0], NAME, break_long_words=False, break_on_hyphens=False) or [""] for row in rows]
        sizes[0] = max(len(table.header[0]), *(len(line) for lines in names for line in lines))
    else:
        names = [[row[0]] for row in rows]
    lines = []
    for columns in _parts(sizes, table.keys, width):
        rule = "-" * _total([sizes[column] for column in columns])
        lines += [rule, _line(table.header, columns, sizes), rule]
        for row, (first, *others) in zip(rows, names, strict=True):
            lines += [_line((first, *row[1:]), columns, sizes), *others]
    return lines


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


def _line(cells: Sequence[str], columns: Sequence[int], sizes: Sequence[int]) -> str:
    aligned = (cells[c].rjust(sizes[c]) if c else cells[c].ljust(sizes[c]) for c in columns)
    return GAP.join(aligned).rstrip()


def _mark(table: Table, row: int, column: int) -> str:
    return "*" if (row, column) in table.bold else "-" if (row, column) in table.underlined else ""
