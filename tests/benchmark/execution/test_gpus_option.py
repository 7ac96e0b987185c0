"""``run --gpus 2 --device cpu``, from the command to the record; one rank is killed, and the command resumes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.cli.run import command
from benchmark.errors import RankError, UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.local import run_locally
from benchmark.execution.worker import record_rank_lost
from benchmark.grid.load import load_grid
from benchmark.stages.plan import make_plan
from results.judge.environment_diff import of_machines, same_bits_expected
from results.store.folder import Store
from tests.benchmark.execution.test_resume import contents
from tests.benchmark.execution.test_workers import grid_file, is_running, maker_for
from tests.conftest import call, start_command
from tests.grids import bundled, write_grid
from tests.results.builders import machine

GRID = {
    "datasets": [bundled(train=120)],
    "methods": ["static"],
    "exits": None,
    "recipes": {"finetune": {"epochs": 4}},
}


def run_on(grid: Path, results: Path, device: str = "cpu") -> list[str]:
    plan = make_plan(load_grid(grid), Store(results))
    config = ExecutionConfig(results=results, device=device, threads=1, loader_processes=0, processes=2)
    return run_locally(Console(quiet=True), plan, config).failed


def other_rank(results: Path) -> int:
    """The process id of rank 1: the only other training child of rank 0's parent; the heartbeat contains rank 0's id."""
    (path,) = results.glob("progress/finetune-*/heartbeat.json")
    heartbeat = Store(results).progress(path.parent.name).heartbeat()
    assert heartbeat is not None
    parent = Path(f"/proc/{heartbeat.by.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    (other,) = set(children_of(int(parent))) - {heartbeat.by.pid}
    return other


def children_of(pid: int) -> list[int]:
    """Ids of the child processes of a process."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


@pytest.mark.slow
def test_after_the_death_of_a_rank_and_after_cancel_now_a_run_resumes_with_the_same_bits(tmp_path: Path) -> None:
    grid, undisturbed, killed = tmp_path / "grid.yaml", tmp_path / "undisturbed", tmp_path / "killed"
    write_grid(grid, **GRID)

    def arguments(results: Path) -> list[object]:
        options = ["--gpus", "2", "--device", "cpu", "--format", "none"]
        return ["run", "--grid", grid, "--results", results, *options]

    done = call(*arguments(undisturbed))
    assert done.returncode == 0, done.stdout + done.stderr

    process = start_command(*arguments(killed))
    while not list(killed.glob("progress/*/checkpoint.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(other_rank(killed), signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "2 processes" in output
    assert errors.splitlines() == [
        "error: rank 1 of 2 was killed (SIGKILL); the same command resumes from the last checkpoint"
    ]
    (stage,) = (path.name for path in killed.glob("progress/finetune-*"))
    last = Store(killed).progress(stage).attempts()[-1]
    assert (last.outcome, last.failure) == ("failed", "killed")
    assert "rank 1 of 2" in last.sentence

    process = start_command(*arguments(killed))
    beat = Store(killed).progress(stage).heartbeat()
    while beat is None or beat.attempt != 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        beat = Store(killed).progress(stage).heartbeat()
    ranks = {beat.by.pid, other_rank(killed)}
    cancelled = call("cancel", "--grid", grid, "--results", killed, "--now")
    assert cancelled.returncode == 0, cancelled.stderr
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not any(map(is_running, ranks))

    again = call(*arguments(killed))
    assert again.returncode == 0, again.stdout + again.stderr
    assert contents(killed) == contents(undisturbed)
    (record,) = (Store(killed).record(run_id) for run_id in Store(killed).run_ids())
    assert record.provenance.machine.ranks == 2


def test_another_number_of_processes_may_change_bits() -> None:
    assert not of_machines(machine(), machine(ranks=1))
    differences = of_machines(machine(), machine(ranks=2))
    assert [(difference.field, difference.recorded, difference.here) for difference in differences] == [("ranks", 1, 2)]
    assert not same_bits_expected(differences)


@pytest.mark.parametrize("other", [["--workers", "2"], ["--rehearse"]])
def test_options_that_exclude_each_other_are_one_sentence(other: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--gpus and {other[0]} exclude each other"):
        command.main(["--grid", "smoke", "--results", str(tmp_path), "--gpus", "2", *other], standalone_mode=False)


def test_run_under_torchrun_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UserError, match="--gpus N instead of torchrun"):
        command.main(["--grid", "smoke", "--results", str(tmp_path)], standalone_mode=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpus_are_one_sentence(tmp_path: Path) -> None:
    grid = write_grid(tmp_path / "grid.yaml", **GRID)
    with pytest.raises(UserError, match=r"--gpus 2: .*--device cpu"):
        run_on(grid, tmp_path / "results", "auto")
    with pytest.raises(UserError, match="--device cuda:1"):
        run_on(grid, tmp_path / "results", "cuda:1")


def test_a_lost_rank_leaves_records_of_the_runs_that_need_its_stage(tmp_path: Path) -> None:
    maker = maker_for(grid_file(tmp_path), tmp_path / "results")
    stage = next(stage for stage in maker.plan.missing_stages if stage.kind == "finetune")
    with maker.attempts.locked([stage.name]):
        maker.attempts.startable([stage])
        maker.attempts._start(stage.name)
    error = RankError("rank 1 of 2 was killed (SIGKILL)", "killed")
    record_rank_lost(maker.plan, maker.config, maker.attempts.worker, error)
    records = [maker.store.record(run.run_id) for run in maker.plan.runs]
    assert [record.status for record in records] == ["failed"] * len(records)
    assert [record.failure for record in records if record.status == "failed"] == ["killed", "blocked"]
