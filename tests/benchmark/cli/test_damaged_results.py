"""Screens on a results folder with a damaged run: the others are shown, and what to do is said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from results.store.folder import Store
from tests.conftest import Command, SmokeRun


@pytest.fixture
def damaged(smoke: SmokeRun, tmp_path: Path) -> Path:
    """The results of the grid `smoke`, in which the record of LGViT ends in the middle."""
    results = tmp_path / "results"
    shutil.copytree(smoke.results, results, copy_function=os.link)
    record = results / "runs" / lgvit(results) / "record.json"
    half = record.read_bytes()[:300]
    record.unlink()  # a link to the file of the others' folder
    record.write_bytes(half)
    return results


def lgvit(results: Path) -> str:
    (run_id,) = (name for name in Store(results).run_ids() if name.startswith("lgvit-"))
    return run_id


@pytest.mark.parametrize("command", [("status", "--runs"), ("plan",)])
def test_a_damaged_record_is_named_beside_the_state_of_the_other_runs(
    damaged: Path, command: tuple[str, ...], benchmark_command: Command
) -> None:
    done = benchmark_command(*command, "--grid", "smoke", "--results", damaged)
    text = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert "cannot be read" in text
    assert "run sets the run aside and evaluates it again" in text
    assert "4 done" in text or "4 finished, 1 to run" in text


def test_a_damaged_record_does_not_keep_failed_runs_from_being_retried(
    damaged: Path, benchmark_command: Command
) -> None:
    done = benchmark_command("retry", "--failed", "--grid", "smoke", "--results", damaged)
    assert done.returncode == 0
    assert "no run has failed" in done.stdout


def test_a_sweep_leaves_out_a_run_whose_scores_are_damaged(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    results = tmp_path / "results"
    shutil.copytree(smoke.results, results, copy_function=os.link)
    record = Store(results).done_record(lgvit(results))
    scores = [stage.name for stage in record.stages if stage.stage == "scores"][-1]
    (results / "stages" / scores / "test.safetensors").unlink()
    done = benchmark_command("sweep", "--results", results, "--policy", "confidence", "--budget", "0.5")
    assert done.returncode == 0
    assert f"left out: {record.run_id}" in done.stdout
    assert "reproduce RUN --into FOLDER" in done.stdout
    assert "vanilla" in done.stdout
