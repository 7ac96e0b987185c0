"""Arrays of jobs: what each waits for, and how many tasks run at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution.slurm.layout import JobArray, arrays_of, units_of
from benchmark.execution.slurm.options import read_options
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store


@pytest.mark.parametrize("grid", ["paper-cifar100", "competitors-cpu", "training-schemes"])
@pytest.mark.parametrize("most", [3, 1001])
def test_every_array_depends_on_the_arrays_that_it_needs(grid: str, most: int, tmp_path: Path) -> None:
    plan = make_plan(load_grid(find_grid(grid)), Store(tmp_path))
    arrays = arrays_of(plan, read_options({"array_parallelism": 8}, None), {}, most)
    before: list[set[str]] = []
    for array in arrays:
        assert 1 <= len(array.tasks) <= most
        waits = set().union(*(before[i] for i in closure(arrays, array)))
        for unit in (unit for task in array.tasks for unit in task.units):
            assert unit.parents <= waits
        before.append({name for task in array.tasks for unit in task.units for name in unit.names})
    made = [name for names in before for name in names]
    assert sorted(made) == sorted(name for unit in units_of(plan, {}) for name in unit.names)
    assert closure(arrays, arrays[-1]) == set(range(len(arrays) - 1))  # the report depends on everything


def test_the_pieces_of_a_split_array_keep_the_limit_together(tmp_path: Path) -> None:
    plan = make_plan(load_grid(find_grid("paper-cifar100")), Store(tmp_path))
    for parallelism, most in ((4, 8), (7, 3), (32, 8), (1, 2)):
        arrays = arrays_of(plan, read_options({"array_parallelism": parallelism}, None), {}, most)
        pieces = [i for i, array in enumerate(arrays) if array.name.startswith("0-")]
        if len(pieces) < 2:
            continue
        unblocked = [i for i in pieces if not arrays[i].after]
        assert sum(arrays[i].parallelism for i in unblocked) <= parallelism
        for i in pieces:  # each piece waits for at most one other, and no two for the same
            assert len(arrays[i].after) <= 1
        chained = [arrays[i].after[0] for i in pieces if arrays[i].after]
        assert len(set(chained)) == len(chained)
        assert all(arrays[i].parallelism <= arrays[arrays[i].after[0]].parallelism for i in pieces if arrays[i].after)


def closure(arrays: list[JobArray], array: JobArray) -> set[int]:
    before = set(array.after)
    return before.union(*(closure(arrays, arrays[i]) for i in array.after))
