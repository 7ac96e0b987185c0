"""`run --join`: commands that share one results folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmark.execution.test_resume import contents
from tests.benchmark.execution.test_workers import execute_here, grid_file, maker_for
from tests.conftest import call, start_command


@pytest.mark.slow
def test_two_commands_started_by_hand_share_a_folder(tmp_path: Path) -> None:
    grid, results = grid_file(tmp_path, epochs=2), tmp_path / "results"
    options = ["--grid", grid, "--results", results, "--threads", "1", "--device", "cpu", "--join"]
    first = start_command("run", *options, merge=True)
    second = call("run", *options)
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    assert second.returncode == 0, second.stdout + second.stderr
    assert "2 of 2 runs are finished" in output
    assert "2 of 2 runs are finished" in second.stdout
    execute_here(maker_for(grid, tmp_path / "alone"))
    assert contents(results) == contents(tmp_path / "alone")
    assert not (results / "command.json").exists()
