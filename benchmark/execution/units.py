"""The missing work of a plan, in units that cannot be divided: stages that share a pass over the data, and records."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from benchmark.stages.plan import Plan
from benchmark.stages.stage import Stage


@dataclass(frozen=True)
class Unit:
    """Work that cannot be divided.

    Attributes:
        kind: that of its stages, ``records`` or ``report``.
        names: of its stages, or the run id.
        parents: names of missing stages that must be made first.
        stages: the stages; empty for a record.
    """

    kind: str
    names: tuple[str, ...]
    parents: frozenset[str]
    stages: tuple[Stage, ...] = ()


def units_of(plan: Plan, in_flight: Mapping[str, str]) -> list[Unit]:
    """The units that are neither finished nor in flight, parents first.

    Args:
        plan: of the grid.
        in_flight: names of stages and runs that an earlier submission will make, to job ids.
    """
    passes: dict[Hashable, list[Stage]] = {}
    for stage in plan.missing_stages:
        if stage.name not in in_flight:
            passes.setdefault(stage.shared_pass or stage.name, []).append(stage)
    missing = {stage.name for stage in plan.missing_stages}
    units = [
        Unit(
            stages[0].kind,
            tuple(stage.name for stage in stages),
            frozenset(parent.name for stage in stages for parent in stage.parents if parent.name in missing),
            tuple(stages),
        )
        for stages in passes.values()
    ]
    for run in plan.missing_runs:
        if run.run_id not in in_flight:
            parents = frozenset(stage.name for stage in run.chain if stage.name in missing)
            units.append(Unit("records", (run.run_id,), parents))
    return units
