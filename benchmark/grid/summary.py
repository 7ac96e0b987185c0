"""What the shipped grids are for, in one sentence each."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path


def grid_summary(path: Path) -> str:
    """The first sentence of the comment at the head of a grid file; empty without one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.split(r"(?<=[.?]) (?=[A-Z`])", comment, maxsplit=1)[0]
