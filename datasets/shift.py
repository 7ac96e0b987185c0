"""The dataset option ``corruption``: the test split with one common corruption. Names and checks; imports no scipy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost",
    "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The fifteen common corruptions (Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261)."""
MOVES_PIXELS = ("elastic_transform",)
"""Corruptions after which a mask no longer fits its image."""
SEVERITIES = (1, 2, 3, 4, 5)
CODE_VERSION = 1
"""Raised when `datasets.corrupt` computes other images; part of the keys of stages that read a corrupted split."""


@dataclass(frozen=True)
class Corruption:
    """A corruption of every test image.

    Attributes:
        name: one of `CORRUPTIONS`.
        severity: from 1 to 5.
    """

    name: str
    severity: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Corruption | None:
        """The corruption in a dataset's options in a grid; None if there is none."""
        chosen = options.get("corruption")
        return None if chosen is None else cls(chosen["name"], chosen["severity"])

    @property
    def label(self) -> str:
        """Part of run names."""
        return f"{self.name}-{self.severity}"

    def describe(self) -> str:
        """Description that is written to records."""
        return f"test images with {self.name} of severity {self.severity}, computed by this suite"

    def fields(self) -> dict[str, Any]:
        """Key fields of a stage that reads test."""
        return {"corruption": {"name": self.name, "severity": self.severity, "code_version": CODE_VERSION}}


def mistake(value: object) -> str | None:
    """What is wrong with the value of the option ``corruption``; None if it is valid."""
    form = "{name, severity}, such as {name: fog, severity: 3}"
    if not isinstance(value, dict) or set(value) != {"name", "severity"}:
        return f"{form}, not {value!r:.80}"
    if not isinstance(value["name"], str) or value["name"] not in CORRUPTIONS:
        return f"name is one of {', '.join(CORRUPTIONS)}, not {value['name']!r:.80}"
    if type(value["severity"]) is not int or value["severity"] not in SEVERITIES:
        return f"severity is a whole number from 1 to 5, not {value['severity']!r:.80}"
    return None
