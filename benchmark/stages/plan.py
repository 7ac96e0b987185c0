"""What a grid needs and what is already there. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from benchmark.grid.load import Grid
from benchmark.stages.collecting import made_to_stay
from benchmark.stages.graph import STAGES, RunStages, Stage, stages_of
from results.store.folder import Store


@dataclass(frozen=True)
class Plan:
    """A grid, its stages, and their state in one results folder.

    Attributes:
        runs: in the order of the grid, without duplicates.
        done_runs: run ids with a finished record.
        done_stages: names of stages whose artifacts are there.
    """

    grid: Grid
    runs: tuple[RunStages, ...]
    done_runs: frozenset[str]
    done_stages: frozenset[str]

    @cached_property
    def missing_runs(self) -> list[RunStages]:
        return [run for run in self.runs if run.run_id not in self.done_runs]

    @cached_property
    def stages(self) -> dict[Stage, int]:
        """Every distinct stage, in order of execution, with the number of runs that share it."""
        count = Counter(chain.from_iterable(run.chain for run in self.runs))
        order = {kind: place for place, kind in enumerate(STAGES)}
        return {stage: count[stage] for stage in sorted(count, key=lambda stage: order[stage.kind])}

    def is_done(self, stage: Stage) -> bool:
        return bool(self.done_stages) and stage.name in self.done_stages  # a name is made when asked for

    @cached_property
    def missing_stages(self) -> list[Stage]:
        """Stages that the missing runs need and that are not there."""
        needed: Collection[Stage] = self.stages
        if self.done_runs:
            needed = {stage for run in self.missing_runs for stage in run.chain}
        return [stage for stage in self.stages if stage in needed and not self.is_done(stage)]


@made_to_stay()
def make_plan(grid: Grid, store: Store) -> Plan:
    """Expand a grid into stages and look up which are there."""
    runs = {stages.run_id: stages for stages in stages_of(grid.runs)}
    return Plan(grid, tuple(runs.values()), _done(runs, store), store.done_stages())


def looked_up_again(plan: Plan, store: Store) -> Plan:
    """The same plan with what is there now."""
    done = _done({run.run_id for run in plan.runs}, store)
    return replace(plan, done_runs=done, done_stages=store.done_stages())


def _done(runs: Collection[str], store: Store) -> frozenset[str]:
    return frozenset(run_id for run_id in store.run_ids() if run_id in runs and store.is_done(run_id))


def counted(labels: Iterable[str]) -> str:
    """Labels in a row, each once, with how often it came: a method may train at several learning rates or exits in one pass."""
    return ", ".join(label if count == 1 else f"{label} ({count}x)" for label, count in Counter(labels).items())


def why_stale(stage: Stage, store: Store) -> list[str]:
    """What sets a missing stage apart from the most similar finished one of its kind: a line a field.

    Empty if no stage of that kind has been finished.
    """
    nearest: list[str] | None = None
    for name in store.stages(stage.kind):
        found = changed_fields(store.manifest(name)["fields"], stage.fields)
        lines = [f"{field}: {have} -> {wanted}" for field, have, wanted in found]
        if nearest is None or len(lines) < len(nearest):
            nearest = lines
    return nearest or []


def changed_fields(have: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted name and both values of every field in which two stages differ."""
    first, second = _flat(have), _flat(wanted)
    return [
        (field, first.get(field, "absent"), second.get(field, "absent"))
        for field in sorted(first.keys() | second.keys())
        if first.get(field) != second.get(field)
    ]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            flat |= _flat({str(i + 1): entry for i, entry in enumerate(value)}, f"{name}.")
        else:
            flat[name] = value
    return flat
