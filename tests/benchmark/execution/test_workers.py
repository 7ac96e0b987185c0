"""Several worker processes on one plan: the bits of one process, dying workers, and stopping."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmark.errors import RESUMES
from benchmark.execution.attempts import MAX_DEATHS
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.maker import StageMaker
from benchmark.execution.task import run_plan
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.provenance import stage_provenance
from benchmark.stages.plan import make_plan
from methods import METHODS
from methods.api import BackboneCard, Card, Component, MethodCard, TrainStage
from methods.losses import LOSSES
from methods.losses.self_distillation import SelfDistillation
from methods.vanilla import Vanilla
from results.store.attempts import Heartbeat
from results.store.files import StoreError
from results.store.folder import Store
from results.store.locks import Lock
from tests.benchmark.execution.test_resume import contents
from tests.conftest import call, start_command
from tests.grids import write_grid
from tests.warm_start import WarmProcess

CPU = torch.device("cpu")


def grid_file(folder: Path, epochs: int = 40, **changes: Any) -> Path:
    """The tiny grid with this number of fine-tuning epochs."""
    return write_grid(folder / "tiny.yaml", recipes={"finetune": {"epochs": epochs}}, **changes)


def maker_for(grid: Path, results: Path, reporter: Reporter | None = None, session: str = "s") -> StageMaker:
    store = Store(results)
    store.prepare()
    reporter = reporter or Reporter(Console(quiet=True))
    config = ExecutionConfig(results=results, session=session, device="cpu", threads=1, loader_processes=0)
    return StageMaker(make_plan(load_grid(grid), store), config, reporter, CPU)


def execute_here(maker: StageMaker) -> list[str]:
    """Execute the maker's plan in this process, like a worker; returns the ids of failed runs."""
    run_plan(maker.plan, maker.config, maker.reporter)
    return [run.run_id for run in maker.plan.runs if not maker.store.is_done(run.run_id)]


def start(grid: Path, results: Path) -> WarmProcess:
    options = ["--grid", grid, "--results", results, "--workers", "2", "--threads", "1", "--format", "none"]
    return start_command("run", *options, merge=True, session=True)


def wait_for_training(process: WarmProcess, results: Path, step: int = 1) -> Heartbeat:
    """Wait until the fine-tuning has reached this step."""
    ended = time.monotonic() + 300
    while time.monotonic() < ended:
        for path in results.glob("progress/finetune-*"):
            heartbeat = Store(results).progress(path.name).heartbeat()
            if heartbeat is not None and heartbeat.step >= step and (path / "checkpoint.pt").exists():
                return heartbeat
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no training within five minutes")


def is_running(pid: int) -> bool:
    """Whether a process runs; zombies do not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_workers_with_one_killed_give_the_bits_of_one_process(tmp_path: Path) -> None:
    grid = grid_file(tmp_path)
    alone = maker_for(grid, tmp_path / "alone")
    assert execute_here(alone) == []
    process = start(grid, tmp_path / "results")
    at_work = wait_for_training(process, tmp_path / "results")
    os.kill(at_work.by.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert "SIGKILL" in output
    assert "resuming from the checkpoint" in output
    assert contents(tmp_path / "results") == contents(tmp_path / "alone")
    assert list(tmp_path.glob("results/progress/*")) == []
    made = Store(tmp_path / "results").provenance(at_work.stage)
    assert made.attempts == 2


@pytest.mark.slow
def test_one_ctrl_c_ends_after_the_checkpoint_and_cancel_now_at_once(tmp_path: Path) -> None:
    grid, results = grid_file(tmp_path, epochs=4000), tmp_path / "results"
    process = start(grid, results)
    beat = wait_for_training(process, results)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "checkpoint" in output
    assert "Traceback" not in output
    attempts = Store(results).progress(beat.stage)
    assert attempts.attempts()[-1].outcome == "stopped"
    reached = torch.load(attempts.folder / "checkpoint.pt", weights_only=True)["step"]
    assert reached >= beat.step

    process = start(grid, results)
    beat = wait_for_training(process, results, reached + 1)
    assert beat.attempt == 2
    shown = call("status", "--grid", grid, "--results", results, "--json")
    status = json.loads(shown.stdout)
    assert status["totals"]["running"] == 2
    (stage,) = (stage for stage in status["stages"] if stage["stage"] == beat.stage)
    assert stage["state"] == "running"
    assert stage["heartbeat"]["epochs"] == 4000
    other = call("cancel", "--grid", "smoke", "--results", results)
    assert other.returncode == 2
    assert "grid tiny, not smoke" in other.stderr
    done = call("cancel", "--grid", grid, "--results", results, "--now")
    assert done.returncode == 0, done.stderr
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert not is_running(beat.by.pid)
    lost = call("status", "--grid", grid, "--results", results)
    assert "2 lost" in lost.stdout
    assert f"{beat.by.host}:{beat.by.pid}" in lost.stdout
    assert "worker-" in lost.stdout  # its log
    assert f"nothing is running in {results}" in call("cancel", "--grid", grid, "--results", results).stdout


@pytest.mark.slow
def test_two_ctrl_c_end_all_processes_at_once(tmp_path: Path) -> None:
    grid, results = grid_file(tmp_path, epochs=4000), tmp_path / "results"
    process = start(grid, results)
    beat = wait_for_training(process, results)
    os.kill(beat.by.pid, signal.SIGSTOP)  # a stopped worker, for which the first Ctrl-C waits
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert f"stopped; {RESUMES}" in output
    assert not is_running(beat.by.pid)


# In one process


def test_no_lock_file_is_left_of_a_stage_that_was_made_in_between(tmp_path: Path) -> None:
    maker = maker_for(grid_file(tmp_path), tmp_path / "results")
    name = "finetune-0123456789abcdef"
    with maker.store.write_stage(name, {}, stage_provenance("cpu", 0.0)):
        pass
    with maker.attempts.locked([name]) as locked:
        assert locked
        assert maker.store.progress(name).folder.is_dir()
    assert list(tmp_path.glob("results/progress/*")) == []


@pytest.mark.slow
def test_two_runs_of_one_process_are_equal_and_leave_no_progress_files(tmp_path: Path) -> None:
    grid = grid_file(tmp_path, epochs=2)
    execute_here(maker_for(grid, tmp_path / "alone"))
    execute_here(maker_for(grid, tmp_path / "results"))
    assert contents(tmp_path / "results") == contents(tmp_path / "alone")
    assert list(tmp_path.glob("results/progress/*")) == []


def test_a_lock_of_another_user_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(lock: Lock) -> bool:
        raise PermissionError(13, "Permission denied", str(lock.path))

    maker = maker_for(grid_file(tmp_path), tmp_path / "results")
    monkeypatch.setattr(Lock, "acquire", denied)
    with (
        pytest.raises(StoreError, match=r"progress/finetune-1/lock.*umask 002"),
        maker.attempts.locked(["finetune-1"]),
    ):
        pass


class Twin(Reporter):
    """Makes the same stage again at its third step, like a second process on a file system without locks."""

    def __init__(self, grid: Path, results: Path) -> None:
        super().__init__(Console(quiet=True))
        self.grid, self.results, self.made = grid, results, ""

    def step(self, step: int, epoch: int, metrics: Any) -> None:
        if step == 3 and not self.made:
            twin = maker_for(self.grid, self.results)
            (stage,) = (stage for stage in twin.plan.missing_stages if stage.kind == "finetune")
            self.made = stage.name
            assert twin.make(stage)


@pytest.mark.slow
def test_two_makers_of_one_stage_leave_one_artifact(tmp_path: Path) -> None:
    grid = grid_file(tmp_path, epochs=2)
    execute_here(maker_for(grid, tmp_path / "alone"))
    reporter = Twin(grid, tmp_path / "results")
    assert execute_here(maker_for(grid, tmp_path / "results", reporter)) == []
    assert reporter.made
    assert contents(tmp_path / "results") == contents(tmp_path / "alone")
    assert list(tmp_path.glob("results/*/.unfinished-*")) == []


@dataclass(frozen=True)
class Deadly(SelfDistillation):
    """A loss that kills its process with SIGKILL."""

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


@dataclass(frozen=True)
class Doomed(Vanilla):
    """Linear heads with that loss."""

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Component("deadly")),)


@pytest.mark.slow
def test_a_stage_that_kills_its_processes_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "doomed", MethodCard(target=f"{__name__}:Doomed", summary=""))
    monkeypatch.setitem(LOSSES, "deadly", Card(target=f"{__name__}:Deadly", summary=""))
    grid = grid_file(tmp_path, epochs=2, methods=["lgvit", "doomed", "vanilla"])
    maker = maker_for(grid, tmp_path / "results")
    assert len({stage.shared_pass for stage in maker.plan.missing_stages if stage.kind == "exits"}) == 1
    ends = []
    while not ends or ends[-1] == -signal.SIGKILL:
        worker = multiprocessing.get_context("fork").Process(
            target=execute_here, args=(maker_for(grid, tmp_path / "results"),)
        )
        worker.start()
        worker.join()
        assert worker.exitcode is not None
        ends.append(worker.exitcode)
        assert len(ends) < 10
    assert ends == [-signal.SIGKILL] * MAX_DEATHS + [0]
    records = {record.label: record for record in map(maker.store.record, maker.store.run_ids())}
    assert {label: record.status for label, record in records.items()} == {
        "lgvit": "done",
        "vanilla": "done",
        "doomed": "failed",
    }
    assert records["doomed"].failure == "killed"
    assert f"{MAX_DEATHS} processes" in records["doomed"].cause
    # Another command tries it again.
    again = maker_for(grid, tmp_path / "results", session="another")
    (stage,) = (stage for stage in again.plan.missing_stages if stage.kind == "exits")
    again.attempts.check_not_blocked(stage)


@dataclass(frozen=True)
class Broken(SelfDistillation):
    """A loss with a mistake, as in a method that somebody writes."""

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        raise TypeError("a mistake in the loss")


@dataclass(frozen=True)
class Unfinished(Vanilla):
    """Linear heads with that loss."""

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Component("broken")),)


@pytest.mark.slow
def test_an_error_in_the_loss_of_one_method_fails_that_method_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pass is requested by another method, which goes on with the bits that it has without it."""
    monkeypatch.setitem(METHODS, "unfinished", MethodCard(target=f"{__name__}:Unfinished", summary=""))
    monkeypatch.setitem(LOSSES, "broken", Card(target=f"{__name__}:Broken", summary=""))
    maker = maker_for(grid_file(tmp_path, epochs=1, methods=["lgvit", "unfinished", "vanilla"]), tmp_path / "results")
    assert len({stage.shared_pass for stage in maker.plan.missing_stages if stage.kind == "exits"}) == 1
    (failed,) = execute_here(maker)
    record = maker.store.record(failed)
    assert (record.label, record.cause) == ("unfinished", "TypeError: a mistake in the loss")
    execute_here(maker_for(grid_file(tmp_path, epochs=1, methods=["lgvit", "vanilla"]), tmp_path / "without"))
    maker.store.remove_failed_run(failed)
    alone = contents(tmp_path / "without")
    assert alone.items() <= contents(tmp_path / "results").items()
