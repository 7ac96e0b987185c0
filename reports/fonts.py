"""The fonts of figures and PDF: letters that they lack are written as their code points, so that no name is lost."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matplotlib.font_manager import findfont, get_font

FALLBACK = "DejaVu Sans"
"""Covers Latin, Greek, Cyrillic, Arabic and more, but no Chinese, Japanese or Korean; matplotlib ships it."""


def drawable(text: str) -> str:
    """The text with ``[U+732B]`` in the place of every letter that `FALLBACK` lacks."""
    return "".join(
        letter if letter.isspace() or ord(letter) in _covered() else f"[U+{ord(letter):04X}]" for letter in text
    )


def font_folder() -> Path:
    """The folder of `FALLBACK`."""
    return Path(findfont(FALLBACK)).parent


@cache
def _covered() -> frozenset[int]:
    return frozenset(get_font(findfont(FALLBACK)).get_charmap())
