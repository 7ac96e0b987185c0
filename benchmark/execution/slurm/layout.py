"""The job arrays of a plan: the stages and records of each task, and the dependencies between arrays. Imports no torch.

A *unit* is work that cannot be divided: a stage, the stages that share a pass over the data, or a run's record. A *task* is one
unit, or several short ones. An *array* holds tasks of one level of the stage graph that request the same resources. It waits
for the arrays that make the parents of its tasks, whether these succeed or fail: a task whose parent is missing records that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from benchmark.execution.slurm.options import KINDS, TRAINING_KINDS, Resources, SlurmChoice
from benchmark.execution.units import Unit, units_of
from benchmark.stages.plan import Plan

SHORT_KINDS = ("cost", "scores", "records")
"""Kinds of units of which several share a task."""


@dataclass(frozen=True)
class ArrayTask:
    """The units that one task of an array makes.

    Attributes:
        units: in order.
        at_once: how many of them are made at the same time.
    """

    kind: str
    units: tuple[Unit, ...]
    at_once: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for unit in self.units for name in unit.names)


@dataclass
class JobArray:
    """Tasks that are submitted together.

    Attributes:
        name: ``level-kinds``, with a number if the tasks of a level did not fit into one array.
        parallelism: maximum number of tasks that run at the same time.
        after: positions, in the same layout, of the arrays that must end first.
        after_jobs: job ids of earlier submissions that must end first.
    """

    name: str
    resources: Resources
    tasks: list[ArrayTask]
    parallelism: int
    after: list[int] = field(default_factory=list)
    after_jobs: list[str] = field(default_factory=list)

    @property
    def at_once(self) -> int:
        """Stages that a task makes at the same time, equal for all tasks."""
        return max(task.at_once for task in self.tasks)

    @property
    def processes(self) -> int:
        """Ranks on each node that share a training; stages that are made at the same time have one process each."""
        return 1 if self.at_once > 1 else max(1, self.resources.gpus_on_node)


def levels_of(units: list[Unit]) -> list[list[Unit]]:
    """The units by the length of the longest path from a unit without parents among them."""
    maker = {name: position for position, unit in enumerate(units) for name in unit.names}
    graph = {
        position: [maker[parent] for parent in unit.parents if parent in maker] for position, unit in enumerate(units)
    }
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append([units[position] for position in sorted(ready)])
        sorter.done(*ready)
    return levels


def arrays_of(plan: Plan, choice: SlurmChoice, in_flight: Mapping[str, str], max_array_size: int) -> list[JobArray]:
    """The arrays in an order of submission, the report's job last; empty if nothing is left to submit.

    Args:
        plan: of the grid.
        choice: the user's resources.
        in_flight: see `units_of`.
        max_array_size: the cluster's limit.
    """
    max_array_size = min(max_array_size, choice.options.max_array_size or max_array_size)
    arrays: list[JobArray] = []
    array_of: dict[str, int] = {}  # position of the array that makes a stage or run, by name
    levels = levels_of(units_of(plan, in_flight))
    if not levels:
        return []
    for number, level in enumerate(levels):
        for resources, tasks in _by_resources(level, choice):
            chunks = [tasks[i : i + max_array_size] for i in range(0, len(tasks), max_array_size)]
            first, chains = len(arrays), min(len(chunks), choice.options.array_parallelism)
            share, rest = divmod(choice.options.array_parallelism, chains)
            for i, chunk in enumerate(chunks, start=1):
                kinds = "+".join(dict.fromkeys(task.kind for task in chunk))
                name = f"{number}-{kinds}" + (f"-{i}" if len(chunks) > 1 else "")
                units = [unit for task in chunk for unit in task.units]
                parents = {parent for unit in units for parent in unit.parents}
                needed = {array_of[parent] for parent in parents if parent in array_of}
                if i > chains:  # more pieces than tasks that may run at once: a piece waits for one before it
                    needed.add(first + i - 1 - chains)
                after = sorted(needed)
                parallelism = share + ((i - 1) % chains < rest)
                after_jobs = sorted({in_flight[parent] for parent in parents if parent in in_flight})
                array_of |= {name: len(arrays) for unit in units for name in unit.names}
                arrays.append(JobArray(name, resources, chunk, min(parallelism, len(chunk)), after, after_jobs))
    waited_for = {i for array in arrays for i in array.after}
    run_ids = {run.run_id for run in plan.missing_runs}
    report = JobArray(
        f"{len(levels)}-report",
        choice.resources("report"),
        [ArrayTask("report", (Unit("report", (), frozenset()),))],
        parallelism=1,
        after=[i for i in range(len(arrays)) if i not in waited_for],
        after_jobs=sorted({job for name, job in in_flight.items() if name in run_ids}),
    )
    return [*arrays, report]


def _by_resources(level: list[Unit], choice: SlurmChoice) -> list[tuple[Resources, list[ArrayTask]]]:
    """The tasks of a level, grouped by the resources that they request; several kinds may request the same."""
    groups: dict[tuple[str, int], tuple[Resources, list[ArrayTask]]] = {}
    options = choice.options
    for kind in KINDS:
        units = [unit for unit in level if unit.kind == kind]
        at_once = options.stages_at_once if kind in TRAINING_KINDS else 1
        size = options.stages_per_task if kind in SHORT_KINDS else at_once
        tasks = [ArrayTask(kind, tuple(units[i : i + size]), at_once) for i in range(0, len(units), size)]
        if tasks:
            resources = choice.resources(kind)
            groups.setdefault((resources.model_dump_json(), at_once), (resources, []))[1].extend(tasks)
    return list(groups.values())
