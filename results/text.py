"""Text that may come from strangers: records, paths, causes of failures. Standard library alone."""

from __future__ import annotations

import re

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that could change what a terminal shows, or cannot be written: control characters, line and paragraph separators,
marks that turn the direction of text, and surrogates. Spaces and joiners of any script are text."""
FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """The text with a space in place of every character of `UNSAFE`."""
    return UNSAFE.sub(" ", text)


def for_spreadsheet(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: one that begins like a formula gets an apostrophe."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
