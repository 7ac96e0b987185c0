"""The runs that a command works on: those of a grid, or all in a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.grid.load import Grid, find_grid, load_grid
from benchmark.stages.graph import run_stages
from results.store.folder import Store


def grid_run_ids(grid: Grid) -> list[str]:
    """The ids of a grid's runs, each once."""
    return list(dict.fromkeys(run_stages(run).run_id for run in grid.runs))


def selected_run_ids(
    store: Store, grid_name: str | None, data_dir: Path | None = None, changes: Sequence[str] = ()
) -> list[str]:
    """The ids of a grid's runs; without a grid, of all runs in the results folder.

    Raises:
        UserError: the grid does not exist or has mistakes, or there are changes without a grid.
    """
    if grid_name is not None:
        return grid_run_ids(load_grid(find_grid(grid_name), data_dir, changes))
    if changes:
        raise UserError("--set replaces a value of a grid: name the grid with --grid")
    return store.run_ids()
