"""Sanitising of untrusted text, such as records, paths and causes of failures. Only the standard library is imported."""

from __future__ import annotations

import re

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that can change the display of a terminal or cannot be written: control characters, line and paragraph separators,
marks that change the direction of text, and surrogates. Spaces and joiners of any script are allowed."""
FORMULA = ("=", "+", "-", "@")
MAX_DIGITS = 400
"""Of a whole number in a file or on the command line; more than a float64 can hold."""


def printable(text: str) -> str:
    r"""The text with a space in place of every character of `UNSAFE`; a byte that is not UTF-8 is shown as ``\xe9``."""
    return UNSAFE.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else " "


def whole_number(text: str) -> int:
    """
    Raises:
        ValueError: it has more than `MAX_DIGITS` digits, with a message in place of Python's advice to raise its own limit.
    """
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text):,} digits; at most {MAX_DIGITS} are read")
    return int(text)


def for_spreadsheet(text: str) -> str:
    """The text as a cell that spreadsheets do not interpret as a formula: an apostrophe precedes text that starts like one."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
