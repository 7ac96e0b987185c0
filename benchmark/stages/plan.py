"""The plan of a grid: the stages and runs that it needs, and which of them are finished. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from benchmark.grid.load import Grid
from benchmark.stages.graph import run_stages
from benchmark.stages.keys import USES
from benchmark.stages.repair import set_damaged_aside
from benchmark.stages.stage import RunStages, Stage
from results.store.files import DamagedError
from results.store.folder import Store


@dataclass(frozen=True)
class Plan:
    """A grid, its stages, and their state in one results folder.

    Attributes:
        runs: in the order of the grid, without duplicates.
        done_runs: ids of the runs with a finished record.
        done_stages: names of the finished stages, without damaged ones that a missing run needs.
        damaged: for each run whose record cannot be read, what is wrong with it; the run is not among `done_runs`.
    """

    grid: Grid
    runs: tuple[RunStages, ...]
    done_runs: frozenset[str]
    done_stages: frozenset[str]
    damaged: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def missing_runs(self) -> list[RunStages]:
        return [run for run in self.runs if run.run_id not in self.done_runs]

    @cached_property
    def stages(self) -> dict[Stage, int]:
        """Every stage once, kind by kind with parents before children, with the number of runs that share it."""
        counts = Counter(chain.from_iterable(run.chain for run in self.runs))
        order = list(USES)
        return {stage: counts[stage] for stage in sorted(counts, key=lambda stage: order.index(stage.kind))}

    @cached_property
    def missing_stages(self) -> list[Stage]:
        """Unfinished stages that the missing runs need, in the order of `stages`."""
        needed = {stage for run in self.missing_runs for stage in run.chain}
        return [stage for stage in self.stages if stage in needed and not self.is_done(stage)]

    def is_done(self, stage: Stage) -> bool:
        return stage.name in self.done_stages


def make_plan(grid: Grid, store: Store, repair: Callable[[str], None] | None = None) -> Plan:
    """Expand a grid into stages, and look up which are finished.

    Args:
        grid: to expand.
        store: the results folder.
        repair: called with a sentence for each damaged run, after `set_damaged_aside`; None leaves damaged runs alone.

    Raises:
        StoreError: a record has another schema, or cannot be read.
    """
    runs = {run.run_id: run for run in map(run_stages, grid.runs)}
    if repair is not None:
        for sentence in set_damaged_aside(runs.values(), store):
            repair(sentence)
    done_runs, damaged = _recorded(runs, store)
    return Plan(grid, tuple(runs.values()), done_runs, _done_stages(runs.values(), done_runs, store), damaged)


def refreshed(plan: Plan, store: Store) -> Plan:
    """The same plan with the present state of the results folder."""
    run_ids = {run.run_id for run in plan.runs}
    done_runs, damaged = _recorded(run_ids, store)
    done_stages = _done_stages(plan.runs, done_runs, store)
    return replace(plan, done_runs=done_runs, done_stages=done_stages, damaged=damaged)


def _recorded(run_ids: Collection[str], store: Store) -> tuple[frozenset[str], dict[str, str]]:
    """The finished runs, and those whose record is damaged, with what is wrong."""
    done, damaged = [], {}
    for run_id in store.run_ids():
        if run_id in run_ids:
            try:
                if store.is_done(run_id):
                    done.append(run_id)
            except DamagedError as error:
                damaged[run_id] = str(error)
    return frozenset(done), damaged


def _done_stages(runs: Iterable[RunStages], done_runs: Collection[str], store: Store) -> frozenset[str]:
    """The finished stages, without those of missing runs that `set_damaged_aside` would move."""
    names = store.done_stages()
    needed = {stage.name for run in runs if run.run_id not in done_runs for stage in run.chain}
    return names - {name for name in needed & names if not _is_intact(name, store)}


def _is_intact(name: str, store: Store) -> bool:
    try:
        store.check_stage(name, artifacts=False)
    except DamagedError:
        return False
    return True


def counted(labels: Iterable[str]) -> str:
    """Each label once, with the number of times that it occurs: ``lgvit (2x), vanilla``."""
    return ", ".join(label if count == 1 else f"{label} ({count}x)" for label, count in Counter(labels).items())


def why_stale(stage: Stage, store: Store) -> list[str]:
    """The fields in which a missing stage differs from the most similar finished stage of its kind, one line each.

    Empty if no stage of that kind is finished.
    """
    candidates = []
    for name in store.stages(stage.kind):
        changes = changed_fields(store.manifest(name)["fields"], stage.fields)
        candidates.append([f"{field}: {before} -> {after}" for field, before, after in changes])
    return min(candidates, key=len, default=[])


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted name and both values of every field in which two stages differ; ``absent`` if one lacks the field."""
    first, second = _flattened(before), _flattened(after)
    return [
        (field, first.get(field, "absent"), second.get(field, "absent"))
        for field in sorted(first.keys() | second.keys())
        if first.get(field) != second.get(field)
    ]


def _flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one mapping with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            flat |= _flattened({str(i): entry for i, entry in enumerate(value, start=1)}, f"{name}.")
        else:
            flat[name] = value
    return flat
