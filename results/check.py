"""One line of ``doctor``. Standard library alone: the doctor must start where packages are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: ``fail`` keeps something from working, ``warn`` may surprise.
        found: the result, in words.
        mend: how to fix it; empty when ok.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""
