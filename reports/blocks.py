"""The building blocks of sections: text, tables and figures, and their conversion to plain data for the template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from reports.style import is_wide, save_figure
from reports.tables import Table
from results.metric import METRICS

PAGE_ROWS = 60


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Heading:
    """The heading of a part of a section."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """Terms, each with a description; in small print if they are many."""

    items: tuple[tuple[str, str], ...]
    small: bool = False


@dataclass(frozen=True)
class Shown:
    """A table.

    Attributes:
        caption: without the number.
        narrow: whether it takes one column instead of both.
        name: for references, see `reports.numbering`.
        source: small print, see `reports.sources`.
    """

    caption: str
    table: Table
    narrow: bool = False
    name: str = ""
    source: str = ""


@dataclass(frozen=True)
class Drawn:
    """A figure. Its name is that of its file, and for references; see `Shown` for the rest."""

    caption: str
    figure: Figure
    name: str
    source: str = ""


Block = Text | Heading | Points | Terms | Shown | Drawn


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


def as_data(sections: Iterable[Section], figures: Path) -> list[dict[str, Any]]:
    """The sections as the template reads them; their figures are written into a folder.

    Text flows in two columns, and everything else floats over both columns: typst lets figures of one column's width overlap
    when floats leave too little room. Two narrow floats are placed side by side.
    """
    return [
        {
            "title": section.title,
            "blocks": _paired([data for block in section.blocks for data in block_data(block, figures)]),
        }
        for section in sections
    ]


def _paired(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Floats in rows of their own, narrow ones in pairs unless a heading separates them."""
    rows: list[dict[str, Any]] = []
    waiting: dict[str, Any] | None = None
    for data in blocks:
        if data["kind"] not in ("table", "figure"):
            rows.append(data)
            waiting = None if data["kind"] == "heading" else waiting
        elif data["wide"]:
            rows.append({"kind": "float", "parts": [data]})
        elif waiting is not None:
            waiting["parts"].append(data)
            waiting = None
        else:
            waiting = {"kind": "float", "parts": [data]}
            rows.append(waiting)
    return rows


def block_data(block: Block, figures: Path) -> list[dict[str, Any]]:
    """A block as plain data; a table longer than a page is split."""
    match block:
        case Text(text):
            return [{"kind": "text", "text": text}]
        case Heading(text):
            return [{"kind": "heading", "text": text}]
        case Points(items):
            return [{"kind": "points", "items": items}]
        case Terms(items, small):
            return [{"kind": "terms", "items": items, "small": small}]
        case Shown(caption, table, narrow, name, source):
            pieces = parts(caption, table)
            return [{"kind": "table", "wide": not narrow, "name": name, "source": source, **part} for part in pieces]
        case Drawn(caption, figure, name, source):
            save_figure(figure, figures / f"{name}.pdf")
            data = {"wide": is_wide(figure), "caption": caption + _cut_axis(figure), "path": f"figures/{name}.pdf"}
            return [{"kind": "figure", "name": name, "source": source, **data}]


def _cut_axis(figure: Figure) -> str:
    """For the caption: whether axes of metrics are cut."""
    labels = {axes.get_ylabel() for axes in figure.axes if axes.get_ylim()[0] > 0}
    cut = [
        name
        for name in ("boundary IoU", *(metric.name for metric in METRICS.values()))
        if any(name in s for s in labels)
    ]
    if len(cut) > 1:
        return " The axes do not start at 0."
    return f" The {cut[0]} axis does not start at 0." if cut else ""


def parts(caption: str, table: Table) -> list[dict[str, Any]]:
    """A table as plain data. A table longer than a page is split into parts with whole groups of rows."""
    rows = [
        [
            {"text": cell, "bold": (r, c) in table.bold, "underlined": (r, c) in table.underlined}
            for c, cell in enumerate(row)
        ]
        for r, row in enumerate(table.rows)
    ]
    pieces: list[list[Any]] = [[]]
    for _, grouped in groupby(rows, key=lambda row: row[0]["text"]):
        group = list(grouped)
        if len(pieces[-1]) + len(group) > PAGE_ROWS and pieces[-1]:
            pieces.append([])
        pieces[-1] += group
    first = caption.split(". ")[0].rstrip(".")
    captions = [caption, *(f"{first}, part {number} of {len(pieces)}." for number in range(2, len(pieces) + 1))]
    return [
        {"caption": c, "header": table.header, "groups": table.groups, "words": table.words, "rows": piece}
        for c, piece in zip(captions, pieces, strict=True)
    ]
