"""Trainings that make no steps: how they are found, ended, recorded and shown."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.status_view import as_json, screen
from benchmark.errors import HeldElsewhereError, Interrupted
from benchmark.execution.attempts import MAX_DEATHS, HeartbeatWriter
from benchmark.execution.maker import StageMaker
from benchmark.execution.pool import WorkerPool, _Worker
from benchmark.execution.status import Status
from benchmark.execution.task import run_task
from benchmark.execution.val_accuracy import final_accuracy
from benchmark.execution.watchdog import Watchdog
from benchmark.progress import Reporter
from benchmark.stages.stage import Stage
from benchmark.training.backbone import task_of
from results.store.attempts import Heartbeat, now, this_process
from results.store.locks import Lock
from tests.benchmark.execution.test_workers import grid_file, maker_for

MINUTES = 0.001


@pytest.fixture
def maker(tmp_path: Path) -> StageMaker:
    return maker_for(grid_file(tmp_path), tmp_path / "results")


def finetune(maker: StageMaker) -> Stage:
    return next(stage for stage in maker.plan.missing_stages if stage.kind == "finetune")


def beat(maker: StageMaker, step: int, *, session: str = "s", pid: int | None = None) -> str:
    """Write a heartbeat of three minutes ago; the name of its stage."""
    name, at = finetune(maker).name, now() - timedelta(minutes=3)
    by = this_process(session).model_copy(update={"pid": pid or os.getpid()})
    heartbeat = Heartbeat(
        stage=name, by=by, device="cpu", attempt=1, started=at, updated=at, epoch=2, epochs=10, step=step, steps=100,
        images_per_second=37.0, seconds_left=16.0,
    )  # fmt: skip
    maker.store.progress(name).folder.mkdir(parents=True, exist_ok=True)
    maker.store.progress(name).write_heartbeat(heartbeat)
    return name


def silent(watchdog: Watchdog, name: str) -> list[str]:
    watchdog._polled -= 60
    return [heartbeat.stage for heartbeat in watchdog.silent([name])]


def test_a_training_is_silent_after_the_minutes_without_a_step(maker: StageMaker) -> None:
    name, watchdog = beat(maker, 10), Watchdog(maker.store, "s", MINUTES)
    assert silent(watchdog, name) == []  # the time since the heartbeat is not its own clock's
    time.sleep(2 * 60 * MINUTES)
    beat(maker, 11)
    assert silent(watchdog, name) == []
    time.sleep(2 * 60 * MINUTES)
    assert silent(watchdog, name) == [name]
    beat(maker, 100)  # the training has ended, and writes its artifacts
    assert silent(watchdog, name) == []
    beat(maker, 10, session="another")
    assert silent(watchdog, name) == []


def test_the_heartbeat_of_an_earlier_start_of_the_job_says_nothing(maker: StageMaker) -> None:
    name, watchdog = beat(maker, 10), Watchdog(maker.store, "s", MINUTES, restarts=1)
    for _ in range(2):
        assert silent(watchdog, name) == []
        time.sleep(2 * 60 * MINUTES)


def test_a_measurement_between_two_steps_is_not_silent(maker: StageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.execution.attempts.HEARTBEAT_SECONDS", 0.0)
    stage = finetune(maker)
    (learner,), _ = maker.builder.learners([stage])
    inputs, progress = maker.builder.inputs(stage.run.train), maker.store.progress(stage.name)
    with maker.attempts.attempt(maker.attempts.startable([stage]), stage), maker.reporter.stage("", 100, 10):
        writer = HeartbeatWriter(maker.attempts, [stage.name], 100, 10, 10.0)
        writer.beat()  # before the first step, which nothing watches
        assert progress.heartbeat().steps == 0  # type: ignore[union-attr]
        writer.step(1, 0, dict)
        before = progress.heartbeat()
        final_accuracy(learner, task_of(stage.run.train), inputs, writer.beat)
        after = progress.heartbeat()
    assert before is not None
    assert after is not None
    assert after.updated > before.updated
    assert (after.step, after.steps) == (before.step, before.steps) == (1, 100)


def test_a_training_that_goes_on_after_its_hang_was_recorded_notes_no_other_end(
    maker: StageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = finetune(maker)

    def hang(stages: object) -> None:
        heartbeat = maker.store.progress(stage.name).heartbeat()
        assert heartbeat is not None
        Watchdog(maker.store, "s", 15).note(heartbeat, "failed")
        raise Interrupted  # Slurm lets a stopped process continue before it ends it

    monkeypatch.setattr(maker, "_train", hang)
    with pytest.raises(Interrupted):
        maker.make(stage)
    assert [attempt.failure for attempt in maker.attempts.earlier(stage.name)] == ["hang"]


@pytest.mark.parametrize("session", ["another", "s"])
def test_a_task_does_not_wait_for_ever_for_another_submission_or_its_own_earlier_start(
    session: str, maker: StageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    name = beat(maker, 10, session=session)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # its node is lost, and the job was requeued
    context = multiprocessing.get_context("fork")
    holds, ends = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(maker.store.progress(name).folder / "lock", holds, ends))
    process.start()
    try:
        assert holds.wait(30)
        config = maker.config.model_copy(update={"lock_seconds": 0.1})
        with pytest.raises(HeldElsewhereError) as held:
            run_task(maker.plan, config, maker.reporter, stages=[name])
        assert name in str(held.value)
        assert str(os.getpid()) in str(held.value)
    finally:
        ends.set()
        process.join()


def _hold(path: Path, holds: Event, ends: Event) -> None:
    assert Lock(path).acquire()
    holds.set()
    ends.wait(60)


def test_a_stage_that_hangs_repeatedly_fails_with_that_cause(maker: StageMaker) -> None:
    stage, watchdog = finetune(maker), Watchdog(maker.store, "s", 15)
    for number in range(1, MAX_DEATHS + 1):
        assert maker.attempts.startable([stage]) == [stage]
        maker.attempts._start(stage.name)
        heartbeat = maker.store.progress(stage.name).heartbeat()
        assert heartbeat is not None
        assert heartbeat.attempt == number
        assert "no step for 15 minutes" in watchdog.note(heartbeat, "killed")
    assert maker.attempts.startable([stage]) == []
    failed = maker.attempts.failed(stage.name)
    assert failed is not None
    assert failed.failure == "hang"
    assert "--hang-minutes" in failed.sentence


def _sleep_in_a_session() -> None:
    os.setsid()
    time.sleep(60)


def test_the_pool_ends_a_stopped_worker_and_records_why(maker: StageMaker) -> None:
    config = maker.config.model_copy(update={"hang_minutes": MINUTES})
    pool = WorkerPool(maker.plan, config, Reporter(Console(quiet=True)))
    process = multiprocessing.get_context("fork").Process(target=_sleep_in_a_session)
    process.start()
    assert process.pid is not None
    while os.getpgid(process.pid) != process.pid:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGSTOP)
    ours, _ = multiprocessing.Pipe()
    pool.workers.append(_Worker(0, process, ours, pool.progress.add_task("", state=""), checks=False))
    name = beat(maker, 10, pid=process.pid)
    for _ in range(2):
        pool.watchdog._polled -= 60
        pool._end_hangs()
        time.sleep(2 * 60 * MINUTES)
    assert process.exitcode == -signal.SIGKILL
    (end,) = maker.store.progress(name).attempts()
    assert (end.outcome, end.failure, end.by.pid) == ("killed", "hang", process.pid)


def test_status_shows_silence_in_place_of_a_rate(maker: StageMaker) -> None:
    name = beat(maker, 10)
    with maker.attempts.locked([name]):
        maker.attempts.startable([finetune(maker)])
        maker.attempts._start(name)
        beat(maker, 10)
        status = Status(maker.plan, maker.store)
        stage = status.stages[name]
    object.__setattr__(stage, "state", "running")  # this process's own lock is invisible to it
    console = Console(file=io.StringIO(), width=140)
    console.print(screen(status, None))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    (row,) = (line for line in shown.splitlines() if "silent for 3 min" in line)
    assert "37" not in row.partition("silent")[0]  # its rate; the worker and the folder may contain any number
    (entry,) = as_json(status, None)["stages"]
    assert entry["silent_seconds"] == pytest.approx(180, abs=30)
