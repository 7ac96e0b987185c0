"""Shared by `run` and `retry`: option checks, and loading a grid with its pretrained weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmark.errors import UserError
from benchmark.execution.requirements import fetch_weights, missing_data
from benchmark.grid.load import Grid, find_grid, load_grid
from benchmark.stages.plan import Plan


def check_processes(workers: int, gpus: int, *, rehearse: bool = False) -> None:
    """
    Raises:
        UserError: the options exclude each other, or torchrun started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("run starts its own processes: use --gpus N instead of torchrun")
    if gpus > 1 and (rehearse or workers > 1):
        other = "--rehearse" if rehearse else "--workers"
        raise UserError(
            f"--gpus and {other} exclude each other: --gpus shares each training among processes, {other} runs it in one"
        )


def load_with_weights(
    console: Console, name: str, data_dir: Path | None, offline: bool, changes: Sequence[str] = (), *, here: bool = True
) -> Grid:
    """Load a grid, after fetching its pretrained weights: their hashes are part of the stage keys.

    Args:
        here: whether the grid trains on this machine, so that its data are checked before weights are downloaded.

    Raises:
        UserError: a mistake in the grid, missing data, or weights that cannot be fetched.
    """
    source = find_grid(name)
    grid = load_grid(source, data_dir, changes)
    fetched = fetch_weights(grid.runs, data_dir, offline, line_printer(console), needs_data=here)
    return load_grid(source, data_dir, changes) if fetched else grid


def require_data(plan: Plan, data_dir: Path | None) -> None:
    """
    Raises:
        UserError: one sentence for each dataset of the missing runs that is not on this machine.
    """
    if messages := missing_data((run.spec for run in plan.missing_runs), data_dir):
        raise UserError(*messages.values())


def line_printer(console: Console) -> Callable[[str], None]:
    """A function that prints a line without markup or highlighting."""
    return lambda text: console.print(text, markup=False, highlight=False)
