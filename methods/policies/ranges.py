"""Ranges of the options of policies. This file imports no torch, so that a grid is checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Range:
    """The finite numbers that an option takes; pydantic checks them where a type is annotated with it.

    Attributes:
        low: smallest number.
        high: largest number.
        open: whether low and high themselves are excluded.
    """

    low: float
    high: float = float("inf")
    open: bool = False

    def check(self, value: Any) -> Any:
        """The value.

        Raises:
            ValueError: it is outside the range, infinite or NaN.
        """
        within = self.low < value < self.high if self.open else self.low <= value <= self.high
        if not within or value == float("inf"):
            raise ValueError(f"must be {self}, not {value}")
        return value

    def __str__(self) -> str:
        if self.high == float("inf"):
            return f"above {self.low:g}" if self.open else f"at least {self.low:g}"
        return f"between {self.low} and {self.high}{', both excluded' if self.open else ''}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


Probability = Annotated[float, Range(0, 1)]
Risk = Annotated[float, Range(0, 1, open=True)]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open=True)]
Count = Annotated[int, Range(1, 1_000_000)]
Seed = Annotated[int, Range(0, 2**31 - 1)]


def check_ranges(policy: Any) -> None:
    """Check the options of a policy, a dataclass; None is a value of every option.

    Raises:
        ValueError: an option is outside its range; the message names it.
    """
    for option, allowed in _ranges(policy.__class__).items():
        value = getattr(policy, option)
        if value is not None:
            try:
                allowed.check(value)
            except ValueError as error:
                raise ValueError(f"{option} {error}") from None


@cache
def _ranges(policy: type) -> dict[str, Range]:
    """The range of each option that has one."""
    hints = get_type_hints(policy, include_extras=True)
    annotations = {
        name: (hint, *get_args(hint)) for name, hint in hints.items()
    }  # T | None has the arguments T and None
    ranges = {
        name: [item for part in parts for item in getattr(part, "__metadata__", ()) if isinstance(item, Range)]
        for name, parts in annotations.items()
    }
    return {name: items[0] for name, items in ranges.items() if items}
