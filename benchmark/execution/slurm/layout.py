"""From a plan to tasks and job arrays: what is made together, in which order, and what waits for what. Imports no torch.

A *unit* is made as a whole: a stage, the stages that share a pass over the data, a run's record. A *task* is a unit, or several
short ones; an *array* holds tasks of one level of the graph that ask for the same resources. An array waits for those that make
its tasks' parents, however these end: what lacks a parent says so in its record.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from benchmark.execution.slurm.options import KINDS, Resources, SlurmChoice
from benchmark.stages.plan import Plan
from benchmark.stages.stage import Stage

PACKED = ("cost", "scores", "records")
"""Kinds that are too short for a task of their own."""


@dataclass(frozen=True)
class Unit:
    """What is made as a whole.

    Attributes:
        kind: one of `KINDS`.
        names: of its stages, or the run id.
        parents: names of stages that must have been tried first.
        stages: the stages; of a record none.
    """

    kind: str
    names: tuple[str, ...]
    parents: frozenset[str]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Task:
    """What one task of an array does, in order."""

    kind: str
    units: tuple[Unit, ...]


@dataclass
class JobArray:
    """Tasks that are submitted at once.

    Attributes:
        name: ``level-kinds``, with a number where a set was split.
        at_once: most tasks that run at a time.
        after: positions of arrays of the same layout that must have ended.
        after_jobs: job ids of earlier submissions, likewise.
    """

    name: str
    resources: Resources
    tasks: list[Task]
    at_once: int
    after: list[int] = field(default_factory=list)
    after_jobs: list[str] = field(default_factory=list)


def units_of(plan: Plan, in_flight: Mapping[str, str]) -> list[Unit]:
    """What is neither done nor in flight, parents first.

    Args:
        plan: of the grid.
        in_flight: stages and runs that an earlier submission is at work on, to job ids.
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


def levels_of(units: list[Unit]) -> list[list[Unit]]:
    """Units by the length of the longest way from one that waits for nothing here."""
    maker = {name: unit for unit in units for name in unit.names}
    level: dict[int, int] = {}

    def of(unit: Unit) -> int:
        if id(unit) not in level:
            level[id(unit)] = max((of(maker[name]) + 1 for name in unit.parents if name in maker), default=0)
        return level[id(unit)]

    levels: list[list[Unit]] = []
    for unit in units:
        while len(levels) <= of(unit):
            levels.append([])
        levels[of(unit)].append(unit)
    return levels


def arrays_of(plan: Plan, choice: SlurmChoice, in_flight: Mapping[str, str], most: int) -> list[JobArray]:
    """The arrays in an order of submission, the report's job last; empty if nothing is left to submit.

    Args:
        plan: of the grid.
        choice: the user's resources.
        in_flight: see `units_of`.
        most: tasks that an array of this cluster may have.
    """
    most = min(most, choice.options.max_array_size or most)
    arrays: list[JobArray] = []
    made_in: dict[str, int] = {}
    levels = levels_of(units_of(plan, in_flight))
    if not levels:
        return []
    for number, level in enumerate(levels):
        for resources, tasks in _sets(level, choice):
            chunks = [tasks[i : i + most] for i in range(0, len(tasks), most)]
            for i, chunk in enumerate(chunks, start=1):
                kinds = "+".join(dict.fromkeys(task.kind for task in chunk))
                name = f"{number}-{kinds}" + (f"-{i}" if len(chunks) > 1 else "")
                at_once = max(1, choice.options.array_parallelism // len(chunks))
                array = JobArray(name, resources, chunk, min(at_once, len(chunk)))
                units = [unit for task in chunk for unit in task.units]
                parents = {parent for unit in units for parent in unit.parents}
                array.after = sorted({made_in[parent] for parent in parents if parent in made_in})
                array.after_jobs = sorted({in_flight[parent] for parent in parents if parent in in_flight})
                made_in |= {made: len(arrays) for unit in units for made in unit.names}
                arrays.append(array)
    nothing = Unit("report", (), frozenset())
    report = JobArray(f"{len(levels)}-report", choice.of("report"), [Task("report", (nothing,))], 1)
    waited_for = {i for array in arrays for i in array.after}
    report.after = [i for i in range(len(arrays)) if i not in waited_for]
    runs = {run.run_id for run in plan.missing_runs}
    report.after_jobs = sorted({job for name, job in in_flight.items() if name in runs})
    return [*arrays, report]


def _sets(level: list[Unit], choice: SlurmChoice) -> list[tuple[Resources, list[Task]]]:
    """Tasks by what they ask for; two kinds may ask for the same."""
    sets: dict[str, tuple[Resources, list[Task]]] = {}
    for kind in KINDS:
        if tasks := _packed(kind, [unit for unit in level if unit.kind == kind], choice.options.stages_per_task):
            resources = choice.of(kind)
            sets.setdefault(resources.model_dump_json(), (resources, []))[1].extend(tasks)
    return list(sets.values())


def _packed(kind: str, units: list[Unit], together: int) -> list[Task]:
    size = together if kind in PACKED else 1
    return [Task(kind, tuple(units[i : i + size])) for i in range(0, len(units), size)]
