"""``run --gpus 2 --device cpu``: from the command to the record, one of the two killed, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.cli.executing import execute
from benchmark.cli.run import command
from benchmark.errors import UserError
from benchmark.execution.distributed import World
from benchmark.grid.load import load_grid
from benchmark.stages.plan import make_plan
from results.judge.environment_diff import of_machines, same_bits_expected
from results.store.folder import Store
from tests.benchmark.execution.test_resume import contents
from tests.conftest import ROOT, environment
from tests.grids import bundled, write_grid
from tests.results.builders import machine

GRID = {
    "datasets": [bundled(train=120)],
    "methods": ["static"],
    "exits": None,
    "recipes": {"finetune": {"epochs": 4}},
}


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def run_here(grid: Path, results: Path) -> None:
    store = Store(results)
    store.prepare()
    assert not execute(Console(quiet=True), make_plan(load_grid(grid), store), store, "cpu", 1, None, 0, gpus=2)


def others_of(pid: int) -> list[int]:
    """The processes that it started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


@pytest.mark.slow
def test_a_killed_rank_ends_the_command_which_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    grid, undisturbed, killed = tmp_path / "grid.yaml", tmp_path / "undisturbed", tmp_path / "killed"
    write_grid(grid, **GRID)
    run_here(grid, undisturbed)

    where = ["--grid", grid, "--results", killed, "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", "run", *where, "--gpus", "2", "--device", "cpu"],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(killed.glob("progress/*/checkpoint.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    (other,) = others_of(process.pid)
    os.kill(other, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "2 processes that train together" in output
    assert errors.splitlines() == [
        "error: process 1 of the 2 that train together was killed (SIGKILL); the same command goes on from the last checkpoint"
    ]

    run_here(grid, killed)
    assert contents(killed) == contents(undisturbed)
    (record,) = (Store(killed).record(run_id) for run_id in Store(killed).run_ids())
    assert record.provenance.machine.ranks == 2


def test_another_number_of_processes_may_change_bits() -> None:
    assert not of_machines(machine(), machine(ranks=1))
    differences = of_machines(machine(), machine(ranks=2))
    assert [(difference.field, difference.recorded, difference.here) for difference in differences] == [("ranks", 1, 2)]
    assert not same_bits_expected(differences)


@pytest.mark.parametrize("other", [["--workers", "2"], ["--rehearse"]])
def test_what_does_not_go_together_is_one_sentence(other: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"and {other[0]} takes a process a training: name one of them"):
        command.main(["--grid", "smoke", "--results", str(tmp_path), "--gpus", "2", *other], standalone_mode=False)


def test_torchrun_would_start_the_whole_command_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UserError, match="leave torchrun out, and say --gpus N"):
        command.main(["--grid", "smoke", "--results", str(tmp_path)], standalone_mode=False)


def test_where_a_process_stands_comes_from_torchruns_variables() -> None:
    world = World(3, 8, 1, "node-7", 29500)
    assert World.of_environment(world.environment()) == world
    assert World.of_environment({}) is None
    assert World.of_environment({"WORLD_SIZE": "1"}) is None
    with pytest.raises(UserError, match="MASTER_ADDR"):
        World.of_environment({"WORLD_SIZE": "2", "RANK": "0"})
    with pytest.raises(UserError, match="RANK"):
        World.of_environment(world.environment() | {"RANK": "first"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_gpus_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no GPU here; --device cpu"):
        run_on(tmp_path, "auto")
    with pytest.raises(UserError, match="name cuda or cpu"):
        World(1, 2, 1, "127.0.0.1", 1).device("cuda:1")


def run_on(folder: Path, device: str) -> None:
    grid = write_grid(folder / "grid.yaml", **GRID)
    store = Store(folder / "results")
    plan = make_plan(load_grid(grid), store)
    execute(Console(quiet=True), plan, store, device, 1, None, 0, gpus=2)
