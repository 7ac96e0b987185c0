"""One line of ``doctor``. Only the standard library is imported, because ``doctor`` also runs where packages are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: ``fail`` if something does not work, ``warn`` if it works with limits.
        result: what was found, in words.
        advice: how to fix it; empty if the status is ``ok``.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    result: str
    advice: str = ""
