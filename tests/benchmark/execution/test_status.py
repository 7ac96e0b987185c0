"""The screen of `status` for runs in every state and at any width, and the runs that `retry` selects."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from benchmark.cli.cancel import command as cancel
from benchmark.cli.retry import command as retry
from benchmark.cli.status import command as status_command
from benchmark.cli.status_view import screen
from benchmark.errors import TrainingDivergedError
from benchmark.execution.causes import BlockedError
from benchmark.execution.maker import StageMaker
from benchmark.execution.status import Scheduled, Status, status_of
from benchmark.stages.plan import refreshed
from datasets.api import DataError
from results.store.folder import Store
from tests.benchmark.execution.test_workers import grid_file, maker_for
from tests.conftest import ROOT, call, environment, torch_free
from tests.results.builders import machine, stage_provenance

MANY = {"methods": ["lgvit", "vanilla", "homogeneous-local", "homogeneous-global"], "seeds": list(range(25))}


def shown(maker: StageMaker, width: int = 80, **options: bool) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(screen(now(maker), None, **options))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def now(maker: StageMaker) -> Status:
    return status_of(refreshed(maker.plan, maker.store), maker.store)


def no_memory() -> Exception:
    try:
        torch.empty(1 << 60)
    except RuntimeError as error:
        return error
    raise AssertionError("torch allocated an impossible amount of memory")


@pytest.mark.parametrize("width", [80, 140])
def test_a_hundred_runs_fit_on_a_screen(tmp_path: Path, width: int) -> None:
    maker = maker_for(grid_file(tmp_path, **MANY), tmp_path / "results")
    assert len(maker.plan.runs) == 100
    runs = list(maker.plan.runs)
    for run in runs[:40]:
        maker.recorder.fail(run, no_memory())
    for i, run in enumerate(runs[40:60]):
        maker.recorder.fail(
            run, TrainingDivergedError(f"exits-{i:016x}", f"exits-{i:016x}: the loss is nan in epoch 1")
        )
    for run in runs[60:90]:
        maker.recorder.fail(run, BlockedError(runs[60].reference.name, "MemoryError: no more"))
    text = shown(maker, width)
    first = text.splitlines()[0]
    assert first == "Grid tiny: 100 runs, 10 queued, 60 failed, 30 blocked"
    assert "oom: 40 runs" in text
    assert "nan: 20 runs" in text
    assert f"30 runs: blocked by {runs[60].reference.name}" in " ".join(text.split())
    assert f"runs/{runs[0].run_id}/traceback.txt" in "".join(text.split())
    assert "... and 37 more" in text
    assert len(text.splitlines()) < 60
    assert all(len(line) <= width for line in text.splitlines())
    every = shown(maker, width, runs=True)
    assert len(every.splitlines()) > 100


def test_the_gpu_hours_of_finished_stages_are_shown(tmp_path: Path) -> None:
    maker = maker_for(grid_file(tmp_path), tmp_path / "results")
    four_gpus = stage_provenance(seconds=1800.0, machine=machine(device="cuda:0", gpu="NVIDIA H200", ranks=4))
    stage = maker.plan.runs[0].reference
    with maker.store.write_stage(stage.name, stage.fields, four_gpus):
        pass
    assert "2.0 GPU-hours used" in " ".join(shown(maker).split())


@pytest.mark.slow
def test_the_state_of_a_stage_is_running_then_lost_then_queued(tmp_path: Path) -> None:
    """A process holds the stage's lock, is killed, and its job is back in the scheduler's queue."""
    grid, results = grid_file(tmp_path), tmp_path / "results"
    maker = maker_for(grid, results)
    (stage,) = (stage for stage in maker.plan.missing_stages if stage.kind == "finetune")
    assert {run.state for run in now(maker).runs} == {"queued"}
    code = f"""
import sys
from pathlib import Path
from benchmark.execution.attempts import HeartbeatWriter
from tests.benchmark.execution.test_workers import maker_for
maker = maker_for(Path({str(grid)!r}), Path({str(results)!r}))
maker.attempts.worker = maker.attempts.worker.model_copy(update={{"log": {str(results / "logs" / "worker.log")!r}}})
(stage,) = (stage for stage in maker.plan.missing_stages if stage.kind == "finetune")
with maker.attempts.locked([stage.name]) as taken:
    assert taken and maker.attempts.startable([stage]) == [stage]
    with maker.attempts.attempt([stage], stage), maker.reporter.stage("", 100, 10):
        watcher = HeartbeatWriter(maker.attempts, [stage.name], 100, 10, 20.0)
        watcher.step(10, 0, dict)
        watcher.last_written -= 60
        watcher.step(30, 2, dict)
        print("running", flush=True)
        sys.stdin.read()
"""
    (results / "logs").mkdir(parents=True)
    (results / "logs" / "worker.log").write_text("line one\nthe last words\n")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    status = now(maker)
    assert status.totals["running"] == 2
    beat = status.stages[stage.name].heartbeat
    assert beat is not None
    assert (beat.epoch, beat.epochs, beat.step, beat.steps) == (3, 10, 30, 100)
    assert beat.images_per_second is not None
    assert beat.seconds_left == pytest.approx(70 * 20 / beat.images_per_second)
    assert "3/10" in shown(maker)
    assert "fine-tune vit_nano_patch4_28" in shown(maker, 140)
    assert not maker.make(stage)  # another process holds its lock

    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert now(maker).totals["lost"] == 2
    text = shown(maker, 140)
    assert "in epoch 3 of 10" in text
    assert "worker.log" in text
    assert "the last words" in text
    waits = Scheduled("queued", "17_3", "Priority")
    again = status_of(maker.plan, maker.store, lambda store, plan: {stage.name: waits})
    assert again.totals["queued"] == 2
    assert again.runs[0].sentence == "job 17_3 waits (Priority)"


@pytest.mark.slow
def test_retry_runs_the_failures_of_a_cause_and_keeps_earlier_tracebacks(tmp_path: Path) -> None:
    grid = grid_file(tmp_path, epochs=1)
    maker = maker_for(grid, tmp_path / "results")
    first, second = maker.plan.runs
    maker.recorder.fail(first, no_memory())
    maker.recorder.fail(second, DataError("no images"))
    options = ["--grid", str(grid), "--results", str(tmp_path / "results")]
    more = ["--format", "none", "--threads", "1", "--device", "cpu", "--failed"]
    done = call("retry", *options, *more, "--cause", "disk-full")
    assert done.returncode == 0
    assert "disk-full" in done.stdout
    done = call("retry", *options, *more, "--cause", "missing-data", "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(tmp_path / "results")
    assert [store.record(run.run_id).status for run in (first, second)] == ["failed", "done"]
    screen = CliRunner().invoke(status_command, options)
    assert screen.output.splitlines()[0] == "Grid tiny: 2 runs, 1 done, 1 failed"
    done = call("retry", *options, *more, "--cause", "oom", "--gpus", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    again = store.record(first.run_id)
    assert (again.status, again.provenance.machine.ranks) == ("done", 2)
    (line,) = (store.progress_dir(first.run_id) / "attempts.jsonl").read_text().splitlines()
    assert "DefaultCPUAllocator" in line
    assert "Traceback" in line
    assert f"nothing is running in {tmp_path / 'results'}" in CliRunner().invoke(cancel, options).output


def test_a_loss_that_is_not_finite_is_never_retried(tmp_path: Path) -> None:
    grid = grid_file(tmp_path, epochs=1)
    maker = maker_for(grid, tmp_path / "results")
    for run in maker.plan.runs:
        maker.recorder.fail(run, TrainingDivergedError("exits-1", "the loss is nan"))
    options = ["--grid", str(grid), "--results", str(tmp_path / "results"), "--failed", "--format", "none"]
    done = CliRunner().invoke(retry, options)
    assert done.exit_code == 0, done.output
    assert "2 runs with the cause nan are left out" in done.output
    assert "nothing to run again" in done.output
    done = CliRunner().invoke(retry, [*options, "--cause", "nan"])
    assert done.exit_code == 2


def test_retry_requires_failed(tmp_path: Path) -> None:
    done = CliRunner().invoke(retry, ["--grid", str(grid_file(tmp_path))])
    assert done.exit_code == 1
    assert "--failed" in str(done.exception)


def test_status_and_cancel_need_no_torch(without_torch: dict[str, str], tmp_path: Path) -> None:
    for name in ("status", "cancel"):
        done = torch_free(without_torch, name, "--grid", "smoke", "--results", tmp_path)
        assert done.returncode == 0, done.stderr
