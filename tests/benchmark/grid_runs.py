"""Grids that a test trains with the command ``run``, and their stored scores."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.conftest import call


def run_grid(grid: Path, results: Path, *options: object) -> str:
    """Run a grid on one thread; returns what the command prints."""
    done = call("run", "--grid", grid, "--results", results, "--threads", "1", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_equal_scores(first: Path, second: Path) -> None:
    """The stages of scores of two results folders have the same keys and, on test, the same bits."""
    stages = [sorted(path.name for path in (folder / "stages").glob("scores-*")) for folder in (first, second)]
    assert stages[0] == stages[1] != []
    for stage in stages[0]:
        one, other = (load_file(folder / "stages" / stage / "test.safetensors") for folder in (first, second))
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
