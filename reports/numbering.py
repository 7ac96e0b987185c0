"""Numbers of tables and figures, and references to them in text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

REFERENCE = re.compile("\ue000(.*?)\ue001")
"""Characters of Unicode's private use area, which no font draws."""
PERCENT = re.compile(r"(?<=\d) %")


def ref(name: str) -> str:
    """A reference to a table or figure, for text and captions: ``Table 3`` in the PDF."""
    return f"\ue000{name}\ue001"


def number_floats(content: dict[str, Any]) -> dict[str, Any]:
    """The content of the paper with a number on each table and figure, in their order, and references resolved.

    No line breaks between a number and its %.

    A reference to something that the paper does not contain becomes "the files of the report".
    """
    counts = {"table": 0, "figure": 0}
    numbers: dict[str, str] = {}
    for part in _floats(content):
        counts[part["kind"]] += 1
        part["number"] = f"{part['kind'].capitalize()} {counts[part['kind']]}"
        numbers.setdefault(part.get("name", ""), part["number"])
    return {key: _resolved(value, numbers) for key, value in content.items()}


def _floats(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield content["teaser"]
    yield from content["claims"]
    for section in (*content["sections"], *content["appendix"]):
        for block in section["blocks"]:
            if block["kind"] == "float":
                yield from block["parts"]


def _resolved(value: Any, numbers: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(part, numbers) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(part, numbers) for part in value]
    if isinstance(value, str):
        value = REFERENCE.sub(lambda match: numbers.get(match[1], "the files of the report"), value)
        return PERCENT.sub("\u00a0%", value)
    return value
