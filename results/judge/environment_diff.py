"""What lies around two makings of a run: where they differ, and what such a difference can do to the outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from results.provenance import Code, Machine
from results.record import DataCard
from results.tables.compare import differences

Effect = Literal["changes bits", "changes what is computed", "should change nothing"]

CHANGES_BITS = ("cpu", "cpu_capability", "gpu", "device", "threads", "ranks", "deterministic", "precision", "packages.")
"""Fields of the machine, or the beginnings of their names, on which the last bits of a sum may depend."""
WORDS = ("transforms.", "split_rule", "citation", "licence", "redistributable")
"""Fields of the data card that describe what others identify."""


@dataclass(frozen=True)
class EnvironmentDifference:
    """One difference.

    Attributes:
        field: dotted name.
        effect: what it can do.
    """

    field: str
    recorded: Any
    here: Any
    effect: Effect

    @property
    def could_explain(self) -> bool:
        """Whether another outcome may come of it."""
        return self.effect != "should change nothing" or self.field.startswith("code.")


def of_machines(recorded: Machine, here: Machine) -> list[EnvironmentDifference]:
    """Of two machines as provenance has them."""
    return [
        EnvironmentDifference(
            entry.field,
            entry.first,
            entry.second,
            "changes bits" if entry.field.startswith(CHANGES_BITS) else "should change nothing",
        )
        for entry in differences(_comparable(recorded), _comparable(here))
    ]


def _comparable(machine: Machine) -> dict[str, Any]:
    """The fields, without the index of a GPU among equal ones."""
    return machine.model_dump() | {"device": machine.device.partition(":")[0]}


def of_code(recorded: Code, here: Code) -> list[EnvironmentDifference]:
    """Of two commits. What they compute is told by the stages' code versions; tracked files that were changed are told, too."""
    return [
        EnvironmentDifference(f"code.{field}", getattr(recorded, field), getattr(here, field), "should change nothing")
        for field, told in (
            ("commit", recorded.commit != here.commit),
            ("dirty", bool(recorded.dirty or here.dirty)),
        )
        if told
    ]


def of_data(recorded: DataCard, here: DataCard) -> list[EnvironmentDifference]:
    """Of what was trained and measured on."""
    return [
        EnvironmentDifference(
            f"data.{entry.field}",
            entry.first,
            entry.second,
            "should change nothing" if entry.field.startswith(WORDS) else "changes what is computed",
        )
        for entry in differences(recorded.model_dump(), here.model_dump())
    ]


def distinct(found: Iterable[EnvironmentDifference]) -> list[EnvironmentDifference]:
    """Each difference once, the grave ones first."""
    order = {"changes what is computed": 0, "changes bits": 1, "should change nothing": 2}
    named = {(one.field, str(one.recorded), str(one.here)): one for one in found}
    return sorted(named.values(), key=lambda one: order[one.effect])


def same_bits_expected(found: Iterable[EnvironmentDifference]) -> bool:
    """Whether nothing differs that may change the last bit of a result."""
    return all(one.effect == "should change nothing" for one in found)
