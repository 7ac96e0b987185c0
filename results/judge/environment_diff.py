"""Differences between the environments of two results of a run, and their possible effects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from results.provenance import Code, Machine
from results.record import DataCard
from results.tables.compare import differences as field_differences

Effect = Literal["changes bits", "changes what is computed", "should change nothing"]

CHANGES_BITS = ("cpu", "cpu_capability", "gpu", "device", "threads", "ranks", "deterministic", "precision", "packages.")
"""Prefixes of the machine's fields that may change the last bits of a sum."""
DESCRIPTIONS = ("transforms.", "split_rule", "citation", "licence", "redistributable")
"""Prefixes of the data card's fields that describe and do not identify the data."""


@dataclass(frozen=True)
class EnvironmentDifference:
    """One difference.

    Attributes:
        field: dotted name.
        recorded: value in the record.
        here: value in the new run.
        effect: its possible effect on the result.
    """

    field: str
    recorded: Any
    here: Any
    effect: Effect

    @property
    def could_explain(self) -> bool:
        """Whether it could explain a different result."""
        return self.effect != "should change nothing" or self.field.startswith("code.")


def of_machines(recorded: Machine, here: Machine) -> list[EnvironmentDifference]:
    """Differences of two machines."""
    return [
        EnvironmentDifference(
            entry.field,
            entry.first,
            entry.second,
            "changes bits" if entry.field.startswith(CHANGES_BITS) else "should change nothing",
        )
        for entry in field_differences(_comparable(recorded), _comparable(here))
    ]


def _comparable(machine: Machine) -> dict[str, Any]:
    """The fields without the index of the GPU, which makes no difference among equal ones."""
    return machine.model_dump() | {"device": machine.device.partition(":")[0]}


def of_code(recorded: Code, here: Code) -> list[EnvironmentDifference]:
    """Differences of two checkouts. Whether they compute the same is decided by the code versions of the stages."""
    return [
        EnvironmentDifference(f"code.{field}", getattr(recorded, field), getattr(here, field), "should change nothing")
        for field, differs in (
            ("commit", recorded.commit != here.commit),
            ("dirty", bool(recorded.dirty or here.dirty)),
        )
        if differs
    ]


def of_data(recorded: DataCard, here: DataCard) -> list[EnvironmentDifference]:
    """Differences of two data cards."""
    return [
        EnvironmentDifference(
            f"data.{entry.field}",
            entry.first,
            entry.second,
            "should change nothing" if entry.field.startswith(DESCRIPTIONS) else "changes what is computed",
        )
        for entry in field_differences(recorded.model_dump(), here.model_dump())
    ]


def distinct(differences: Iterable[EnvironmentDifference]) -> list[EnvironmentDifference]:
    """Each difference once, those with the largest effect first."""
    order = {"changes what is computed": 0, "changes bits": 1, "should change nothing": 2}
    named = {(one.field, str(one.recorded), str(one.here)): one for one in differences}
    return sorted(named.values(), key=lambda one: order[one.effect])


def same_bits_expected(differences: Iterable[EnvironmentDifference]) -> bool:
    """Whether no difference can change the last bits of a result."""
    return all(one.effect == "should change nothing" for one in differences)
