"""A run that is stopped at any moment and resumed has the bits of an uninterrupted run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmark.execution.config import ExecutionConfig
from benchmark.execution.task import run_plan
from benchmark.grid.load import find_grid, load_grid
from benchmark.progress import Reporter
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.conftest import Command, SmokeRun, start_command

KILLS = 20
SECONDS = 2.0
"""A kill comes at most this long after the start. Starting and all trainings take about twice as long."""
IMAGES, FEWER_IMAGES = "{train: 500, val: 300, test: 500}", "{train: 150, val: 100, test: 100}"
CPU = torch.device("cpu")


def arguments(grid: Path | str, results: Path) -> tuple[object, ...]:
    return "run", "--grid", grid, "--results", results, "--format", "none"


def contents(results: Path) -> dict[str, Any]:
    """The contents of a results folder that must not depend on interruptions or the number of processes."""
    files: dict[str, Any] = {}
    for path in [*results.glob("stages/*/*"), *results.glob("runs/*/*")]:
        name = path.relative_to(results).as_posix()
        if path.name == "record.json":
            record = json.loads(path.read_text())
            del record["provenance"], record["sha256"]
            for stage in record["stages"]:
                # These may differ: wall time, interruptions and, after a kill between two writes, the stages in a pass.
                del stage["seconds"], stage["earlier"], stage["shared_pass"]
            files[name] = record
        elif path.name != "provenance.json":
            files[name] = path.read_bytes()
    return files


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_sigkill_at_random_moments_changes_no_bit(tmp_path: Path) -> None:
    """Of the grid `smoke` on fewer images. Once all runs are recorded, the next kills begin in an empty folder."""
    grid = tmp_path / "grid.yaml"
    grid.write_text(find_grid("smoke").read_text().replace(IMAGES, FEWER_IMAGES))
    store = Store(tmp_path / "uninterrupted")
    store.prepare()
    plan = make_plan(load_grid(grid), store)
    config = ExecutionConfig(results=store.root, session="s", device="cpu", threads=1, loader_processes=0)
    run_plan(plan, config, Reporter(Console(quiet=True)))
    expected = contents(store.root)
    assert len([name for name in expected if name.endswith("record.json")]) == len(plan.runs) == 5

    rng = random.Random(20230800255)
    results, kills, finished = tmp_path / "results-0", 0, 0
    while kills < KILLS or finished == 0:
        process = start_command(*arguments(grid, results), merge=True)
        if kills < KILLS:
            try:
                process.wait(rng.uniform(0, SECONDS))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        output, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), output
        if len(list(results.glob("runs/*/record.json"))) == len(plan.runs):
            assert contents(results) == expected
            finished += 1
            results = tmp_path / f"results-{finished}"


@pytest.mark.slow
def test_ctrl_c_writes_the_checkpoint_and_tells_how_to_resume(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    results = tmp_path / "results"
    process = start_command(*arguments("smoke", results), merge=True)
    for line in process.stdout:
        if "fine-tuning" in line:
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "checkpoint" in output
    assert "Traceback" not in output
    (checkpoint,) = results.glob("progress/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    done = benchmark_command(*arguments("smoke", results))
    assert done.returncode == 0, done.stderr
    assert "resuming from the checkpoint in epoch" in done.stdout
    assert contents(results) == contents(smoke.results)
