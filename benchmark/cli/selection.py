"""The options that select a grid and its results in a command that is shown to the user."""

from __future__ import annotations

import shlex

from benchmark import registry
from benchmark.cli.options import DEFAULT_RESULTS
from benchmark.grid.load import Grid
from results.store.folder import Store


def selection(grid: Grid, store: Store) -> str:
    """``--grid NAME``, with ``--results`` if they are not in the default folder."""
    name = grid.name if registry.grids().get(grid.name) == grid.source else str(grid.source)
    results = "" if store.root == DEFAULT_RESULTS else f" --results {shlex.quote(str(store.root))}"
    return f"--grid {shlex.quote(name)}{results}"
