"""What a deployed model may cost: a share of the MACs, a drop in accuracy, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmark.errors import UserError

UNITS = {"": "macs", "pt": "drop", "ms": "time"}
FORMS = "0.5 (share of the backbone's MACs), 1pt (points of accuracy lost on val) or 5ms (mean time per image)"


@dataclass(frozen=True)
class Budget:
    """What a deployed model may cost.

    Attributes:
        kind: ``macs``, a share of the MACs of the backbone without exits; ``drop``, an accuracy drop on val in [0, 1]; or
            ``time``, in milliseconds per image.
        limit: in that unit.
        text: as the user wrote it.
        option: of the command line, for messages.
    """

    kind: str
    limit: float
    text: str
    option: str = "--budget"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """
        Raises:
            UserError: it is in none of the forms.
        """
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(pt|ms|)", text.strip())
        if match is None:
            raise UserError(f"--budget {text}: allowed are {FORMS}")
        kind, limit = UNITS[match[2]], float(match[1])
        if kind != "drop" and limit == 0:
            raise UserError(f"--budget {text}: must be above 0")
        if (kind == "macs" and limit > 2) or (kind == "drop" and limit > 100):
            raise UserError(f"--budget {text}: too large; allowed are {FORMS}")
        return cls(kind, limit / 100 if kind == "drop" else limit, text)
