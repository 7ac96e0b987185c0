"""The process that submitit runs on a node: the worker's exit codes, and the signal before the time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.execution.attempts import MAX_DEATHS, Attempts
from benchmark.execution.slurm import task as module
from benchmark.execution.slurm.task import HELD, NOT_REQUEUED, STOPPED, SlurmTask, fruitless_starts
from benchmark.progress import Reporter
from results.store.attempts import Attempt, Heartbeat, Worker, now
from results.store.folder import Store


@pytest.fixture
def task(tmp_path: Path) -> SlurmTask:
    return SlurmTask(str(tmp_path), "exits", ("exits-1",), processes=1, patience=20.0)


def worker(task: SlurmTask, code: str) -> None:
    task.worker = subprocess.Popen([sys.executable, "-c", f"import sys, time; {code}"])


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script that replaces the worker's Python."""
    path = tmp_path / "python"
    path.touch(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(module, "END_SECONDS", 0.0)
    return path


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", None), ("exit 1", 1), (f"exit {STOPPED}", STOPPED), ("kill -9 $$", 137)]
)
def test_the_task_ends_as_its_worker_does(script: str, code: int | None, task: SlurmTask, shell: Path) -> None:
    shell.write_text(f"#!/bin/sh\n{script}\n")
    if code is None:
        task()
        return
    with pytest.raises(SystemExit) as ended:
        task()
    assert ended.value.code == code


@pytest.fixture
def refusing_scontrol() -> Iterator[None]:
    """Replaces submitit's checkpoint handler by one for which Slurm refuses to requeue."""

    def handler(number: int, frame: object) -> None:
        raise subprocess.CalledProcessError(1, ["scontrol", "requeue"])

    before = signal.signal(signal.SIGUSR2, handler)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("refusing_scontrol")
def test_a_job_that_slurm_does_not_requeue_has_its_own_exit_code(task: SlurmTask, shell: Path) -> None:
    shell.write_text("#!/bin/sh\nsleep 20\n")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    with pytest.raises(SystemExit) as ended:
        task()
    assert ended.value.code == NOT_REQUEUED
    assert task.worker is not None
    task.worker.kill()


def test_a_job_is_requeued_when_the_checkpoint_is_written(task: SlurmTask) -> None:
    worker(task, f"time.sleep(1); sys.exit({STOPPED})")
    begun = time.monotonic()
    again = task.checkpoint().function
    assert 0.5 < time.monotonic() - begun < task.patience
    assert again == SlurmTask(task.folder, task.kind, task.names, task.processes, task.patience)


def test_a_worker_that_does_not_stop_is_requeued_after_a_while(task: SlurmTask) -> None:
    task.patience = 0.5
    worker(task, "time.sleep(60)")
    task.checkpoint()
    assert task.worker is not None
    assert task.worker.poll() is None
    task.worker.kill()


def test_starts_that_slurm_ends_without_a_result_are_counted(
    task: SlurmTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "jobs").mkdir()
    task.results, task.patience = str(tmp_path / "results"), 0.0
    counted = fruitless_starts(tmp_path, "7")
    checkpoint = Store(tmp_path / "results").progress_dir("exits-1") / "checkpoint.pt"

    def ends(*, writes: bool = False) -> int:
        task.before = task._work_done()
        if writes:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_bytes(b"")
        task.checkpoint()
        return counted.stat().st_size if counted.exists() else 0

    assert ends() == 1
    assert ends() == 2
    assert ends(writes=True) == 0
    assert ends() == 1


def test_a_finished_task_is_not_requeued(task: SlurmTask) -> None:
    worker(task, "time.sleep(0.5)")
    with pytest.raises(SystemExit) as ended:
        task.checkpoint()
    assert not ended.value.code


def test_a_failure_is_final_except_in_an_earlier_start_of_the_same_job() -> None:
    def by(job: str, restarts: int, session: str = "s") -> Worker:
        return Worker(pid=1, host="n1", session=session, job=job, restarts=restarts)

    failed = Attempt(number=1, at=now(), by=by("7", 0), outcome="failed", failure="node-failure")
    assert failed.is_final_for(by("7", 0))
    assert failed.is_final_for(by("8", 1))
    assert not failed.is_final_for(by("7", 1))  # Slurm has requeued the job
    assert not failed.is_final_for(by("7", 0, session="another"))


def test_deaths_in_earlier_starts_of_a_job_do_not_end_a_stage(tmp_path: Path) -> None:
    def attempts(restarts: int) -> Attempts:
        by = Worker(pid=1, host="n1", session="s", job="7", restarts=restarts)
        return Attempts(Store(tmp_path), Reporter(Console(quiet=True)), by, "cpu")

    for restarts in range(MAX_DEATHS):  # three nodes failed
        by = Worker(pid=1, host="n1", session="s", job="7", restarts=restarts)
        Store(tmp_path).progress("exits-1").append(Attempt(number=1, at=now(), by=by, outcome="killed"))
    assert attempts(MAX_DEATHS).deaths("exits-1") == 0
    requeued = attempts(MAX_DEATHS)
    requeued._note_crash("exits-1")
    assert requeued.failed("exits-1") is None
    progress = Store(tmp_path).progress("exits-1")
    for _ in range(MAX_DEATHS):  # three in one start
        progress.append(Attempt(number=1, at=now(), by=requeued.worker, outcome="killed"))
    requeued._note_crash("exits-1")
    assert requeued.failed("exits-1") is not None


@pytest.mark.parametrize(
    ("session", "job", "later"),
    [
        ("another", "5", "Dependency=afterany:5"),
        ("another", None, "StartTime=now+10minutes"),  # a command outside of Slurm
        (None, "7", "StartTime=now+10minutes"),  # an earlier start of this job, on a lost node
    ],
)
def test_a_task_whose_stage_another_process_makes_is_requeued_to_start_later(
    session: str | None, job: str | None, later: str, task: SlurmTask, shell: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shell.write_text(f"#!/bin/sh\nexit {HELD}\n")
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    task.results = str(tmp_path / "results")
    progress = Store(Path(task.results)).progress("exits-1")
    progress.folder.mkdir(parents=True)
    by = Worker(pid=1, host="n1", session=session or tmp_path.name, job=job)
    progress.write_heartbeat(Heartbeat(stage="exits-1", by=by, device="cpu", attempt=1, started=now(), updated=now()))
    with pytest.raises(SystemExit):
        task()
    assert (tmp_path / "calls").read_text().splitlines() == ["requeue 7", f"update JobId=7 {later}"]


@pytest.mark.parametrize(("answer", "code"), [("exit 0", 137), ("exit 1", NOT_REQUEUED)])
def test_a_training_without_steps_is_recorded_and_its_job_requeued(
    answer: str, code: int, task: SlurmTask, shell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write_text("#!/bin/sh\nexec sleep 20\n")
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n{answer}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    task.results, task.hang_minutes = str(tmp_path / "results"), 0.001
    by = Worker(pid=1, host="n1", session=tmp_path.name, job="7")
    beat = Heartbeat(
        stage="exits-1", by=by, device="cpu", attempt=1, started=now(), updated=now(), step=3, steps=9, epochs=3
    )
    progress = Store(Path(task.results)).progress("exits-1")
    progress.folder.mkdir(parents=True)
    progress.write_heartbeat(beat)
    with pytest.raises(SystemExit) as ended:
        task()
    assert ended.value.code == code
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    (end,) = progress.attempts()
    assert (end.outcome, end.failure) == ("failed", "hang")
    assert not end.is_final_for(by.model_copy(update={"restarts": 1}))
