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

from tests.conftest import Command, SmokeRun, start_command
from tests.warm_start import WarmProcess

KILLS = 20
CPU = torch.device("cpu")


def start(results: Path, out: Path) -> WarmProcess:
    return start_command("run", "--grid", "smoke", "--results", results, "--out", out, merge=True)


def contents(results: Path) -> dict[str, Any]:
    """The contents of a results folder that must not depend on interruptions or the number of processes."""
    files: dict[str, Any] = {}
    for path in [*results.glob("stages/*/*"), *results.glob("runs/*/*")]:
        name = path.relative_to(results).as_posix()
        if path.name == "record.json":
            record = json.loads(path.read_text())
            del record["provenance"], record["sha256"]
            for stage in record["stages"]:
                # These may differ: wall time and, after a kill between two writes, the number of stages in a pass.
                del stage["seconds"], stage["shared_pass"]
            files[name] = record
        elif path.name != "provenance.json":
            files[name] = path.read_bytes()
    return files


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_sigkill_at_random_moments_changes_no_bit(smoke: SmokeRun, tmp_path: Path) -> None:
    expected = contents(smoke.results)
    rng = random.Random(20230800255)
    results, kills, finished = tmp_path / "results-0", 0, 0
    while kills < KILLS or finished == 0:
        process = start(results, tmp_path / f"out-{finished}")
        if kills < KILLS:
            try:
                process.wait(rng.uniform(0, 4))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        output, _ = process.communicate()
        if process.returncode == -signal.SIGKILL:
            continue
        assert process.returncode == 0, output
        assert contents(results) == expected
        finished += 1
        results = tmp_path / f"results-{finished}"


@pytest.mark.slow
def test_ctrl_c_writes_the_checkpoint_and_tells_how_to_resume(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    results = tmp_path / "results"
    process = start(results, tmp_path / "out")
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
    done = benchmark_command("run", "--grid", "smoke", "--results", results, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "resuming from the checkpoint in epoch" in done.stdout
    assert contents(results) == contents(smoke.results)
