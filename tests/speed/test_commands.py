"""The speed of commands over many runs, each call a new process, as for users. Limits are on the median wall time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.grid.load import load_grid
from results.store.folder import Store
from tests.conftest import call
from tests.made_up_runs import make_finished

SECONDS = 5.0
REPORT_SECONDS = 60.0
REPEATS = 3
WIDE: dict[str, list[Any]] = {
    "backbones": [
        "vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "vit_nano_patch4_32", "deit_nano_distilled_patch4_32"
    ],
    "datasets": [{"name": "fashion-mnist-mini", "set": {"train": count}} for count in range(1000, 6000, 1000)],
    "methods": ["lgvit", "lgvit-official", "vanilla", "homogeneous-local", "homogeneous-global"]
    + [{"name": "lgvit", "set": {"kd_weight": weight}} for weight in (0.1, 0.2, 0.4, 0.5, 0.6)],
    "exits": ["paper"] + [{"name": n, "set": {"count": c}} for n in ("uniform", "deep", "middle") for c in (2, 4, 6)],
}  # fmt: skip
"""2,000 runs a seed."""
NARROW: dict[str, list[Any]] = {
    "backbones": ["vit_nano_patch4_28"],
    "datasets": ["fashion-mnist-mini"],
    "methods": ["static", "lgvit", "vanilla", "homogeneous-local"],
}
"""4 runs a seed."""


def write_grid(folder: Path, axes: dict[str, list[Any]], seeds: int) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({"name": "speed", **axes, "seeds": list(range(seeds))}), encoding="utf-8")
    return path


def timed(benchmark: BenchmarkFixture, *arguments: object, rounds: int = REPEATS) -> tuple[float, str]:
    """Median wall time of a command in seconds, and the output of its last call. The CPU time is kept beside it, because other
    work on the machine distorts it less."""

    def run() -> subprocess.CompletedProcess[str]:
        done = call(*arguments)
        assert done.returncode == 0, done.stderr
        return done

    before = os.times()
    done = benchmark.pedantic(run, rounds=rounds, iterations=1)
    after = os.times()
    benchmark.extra_info["CPU seconds per call"] = (
        after.children_user + after.children_system - before.children_user - before.children_system
    ) / rounds
    return benchmark.stats.stats.median, done.stdout


@pytest.fixture(scope="module")
def thousand_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid of 1,000 runs and their records, each with as many test images as the grid `quick` has."""
    folder = tmp_path_factory.mktemp("thousand")
    grid = load_grid(write_grid(folder, NARROW, 250))
    assert make_finished(grid, Store(folder / "results"), samples=4000, variants=5) == 1000
    return folder


def test_2000_runs_are_planned_and_shown(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, WIDE, 1)
    seconds, output = timed(benchmark, "plan", "--grid", grid, "--results", tmp_path / "results")
    assert output.count("\nto run ") == 2000
    assert seconds < SECONDS


def test_10000_records_are_listed(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    grid, store = load_grid(write_grid(tmp_path, NARROW, 2500)), Store(tmp_path / "results")
    make_finished(grid, store, tables=False)
    table = tmp_path / "runs.csv"
    seconds, _ = timed(benchmark, "list", "--runs", "--results", store.root, "--out", table)
    assert table.read_text(encoding="utf-8").count("\n") == 10_001
    assert seconds < SECONDS


def test_1000_records_are_reported(benchmark: BenchmarkFixture, thousand_runs: Path) -> None:
    seconds, _ = timed(benchmark, *report_command(thousand_runs), rounds=1)
    assert (thousand_runs / "report" / "paper.pdf").is_file()
    assert seconds < REPORT_SECONDS


def test_a_second_run_of_1000_finished_runs_writes_nothing(benchmark: BenchmarkFixture, thousand_runs: Path) -> None:
    grid, results, report = (thousand_runs / name for name in ("grid.yaml", "results", "report"))
    if not report.is_dir():
        call(*report_command(thousand_runs))
    before = modification_times(thousand_runs)
    seconds, output = timed(benchmark, "run", "--grid", grid, "--results", results, "--out", report)
    assert "1000 runs" in output
    assert modification_times(thousand_runs) == before
    assert seconds < SECONDS


def report_command(folder: Path) -> tuple[object, ...]:
    return "report", "--grid", folder / "grid.yaml", "--results", folder / "results", "--out", folder / "report"


def modification_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
