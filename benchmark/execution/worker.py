"""A process of the local pool. It works on a plan together with the other workers, until every run has a record."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmark.errors import Interrupted, RankError, UserError
from benchmark.execution.attempts import Attempts
from benchmark.execution.checking import check_plan, skipped_images
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.device import check_devices, set_up_device, set_up_torch, uses_cpu
from benchmark.execution.exit_codes import EXIT_MISTAKE, EXIT_RANK_LOST, EXIT_STOPPED
from benchmark.execution.launch import launch
from benchmark.execution.maker import builder_for
from benchmark.execution.recorder import Recorder
from benchmark.execution.task import run_plan, run_task
from benchmark.grid.load import Grid
from benchmark.progress import LINE_SECONDS, Reporter
from benchmark.stages.plan import Plan, make_plan
from datasets.api import DataError
from results.store.attempts import Worker, this_process
from results.store.folder import Store, StoreError

DISPLAY_SECONDS = 0.25
POLL_SECONDS = 0.5
KILLED = "killed"
"""File next to the checkpoint of a training that a rehearsal has killed."""


@dataclass(frozen=True)
class WorkerJob:
    """The job of a worker, sent by the pool.

    Attributes:
        grid: the runs to record, or to which the stages belong.
        checks: whether this worker checks the plan before training; only the first one does.
        live: whether the pool updates a display several times a second, instead of printing lines.
        stages: names of the only stages to make; then no run is recorded. Empty for all.
    """

    grid: Grid
    config: ExecutionConfig
    checks: bool
    live: bool
    stages: frozenset[str] = frozenset()


def work(job: WorkerJob, pipe: Connection) -> None:
    """Main function of the process, which exits with 0 if all work is done, or with a code of `exit_codes`."""
    os.setsid()  # Ctrl-C is handled by the pool, which asks the workers to stop
    assert job.config.log is not None
    log = os.open(job.config.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    plan = make_plan(job.grid, Store(job.config.results))
    try:
        if job.checks:
            _check(plan, job, pipe)
        if job.config.processes > 1:
            launch(_work_on_plan, job, pipe, processes=job.config.processes, session=job.config.session)
        else:
            _work_on_plan(job, pipe)
    except (Interrupted, KeyboardInterrupt):
        _exit(EXIT_STOPPED)
    except RankError as error:
        _reporter(job, pipe).send("rank lost", str(error), error.failure)
        worker = this_process(job.config.session, job.config.log)
        record_rank_lost(plan, job.config, worker, error)
        _exit(EXIT_RANK_LOST)
    except (UserError, DataError, StoreError) as error:
        messages = error.messages if isinstance(error, UserError) else [str(error)]
        _reporter(job, pipe).send("mistakes", *messages)
        _exit(EXIT_MISTAKE)


def record_rank_lost(plan: Plan, config: ExecutionConfig, worker: Worker, error: RankError) -> None:
    """Record the failure of the stages that the ranks were making, and of the runs that need them."""
    store = Store(config.results)
    attempts = Attempts(store, Reporter(Console(quiet=True)), worker, config.device)
    attempts.rank_lost(plan.missing_stages, error)
    recorder = Recorder(plan, store, attempts, builder_for(config, torch.device("cpu")).inputs)
    for run in plan.missing_runs:
        missing = recorder.first_missing(run)
        if missing is not None and attempts.failed(missing.name):
            recorder.fail_by(run, missing)


def _exit(code: int) -> None:
    """Exit at once, because Python or torch could wait for processes that have died."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check(plan: Plan, job: WorkerJob, pipe: Connection) -> None:
    """Check the plan, and remove failed records, so that later failed records are those of this session."""
    reporter, config = _reporter(job, pipe), job.config
    if config.processes > 1:
        check_devices(config)
        device = set_up_torch("cpu", config.threads)  # GPUs are for the ranks
        shown = "cpu" if uses_cpu(config) else "cuda"
        reporter.say(f"Running on {shown}, {config.processes} processes per training")
    else:
        device = set_up_device(config)
        threads = torch.get_num_threads()
        workers = f"{config.workers} workers of " if config.workers > 1 else ""
        reporter.say(f"Running on {device} with {workers}{threads} thread{'' if threads == 1 else 's'}")
    warnings = check_plan(plan, builder_for(config, device), reporter)
    for sentence in (*warnings, *skipped_images(plan)):
        reporter.say(sentence)
    if not config.join:
        for run in plan.missing_runs:
            Store(config.results).remove_failed_run(run.run_id)
    reporter.send("checked")


def _work_on_plan(job: WorkerJob, pipe: Connection) -> None:
    """Runs in a worker, or in each of its ranks."""
    is_silent = int(os.environ.get("RANK", "0")) > 0
    reporter = Reporter(Console(quiet=True)) if is_silent else _reporter(job, pipe)
    plan = make_plan(job.grid, Store(job.config.results))
    if job.stages:
        run_task(plan, job.config, reporter, stages=job.stages)
    else:
        run_plan(plan, job.config, reporter)


def _reporter(job: WorkerJob, pipe: Connection) -> PipeReporter:
    kind = KillingReporter if job.config.kill_each_training else PipeReporter
    return kind(job, pipe)


class StopSignal:
    """Whether the pool asked this worker to stop or has died: both make the pipe readable."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.polled = 0.0
        self.received = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.received and now - self.polled > POLL_SECONDS:
            self.polled = now
            self.received = self.pipe.poll()
        return self.received


class PipeReporter(Reporter):
    """Writes to the worker's log, and sends everything to the pool."""

    def __init__(self, job: WorkerJob, pipe: Connection) -> None:
        super().__init__(Console(file=sys.stdout, width=160, force_terminal=False), StopSignal(pipe))
        self.pipe, self.live = pipe, job.live
        self._logged = 0.0

    def send(self, kind: str, *content: Any) -> None:
        with suppress(OSError):  # the pool has died; `StopSignal` detects it
            self.pipe.send((kind, *content))

    def say(self, text: str) -> None:
        super().say(text)
        self.send("say", text)

    @contextmanager
    def stage(self, title: str, total_steps: int = 0, epochs: int = 0, measured: str = "accuracy") -> Iterator[None]:
        self.send("state", 0, total_steps, title)
        with super().stage(title, total_steps, epochs, measured):
            yield

    def waiting(self) -> None:
        self.send("state", 0, 0, "waiting for what other workers make")

    @property
    def _interval(self) -> float:
        return DISPLAY_SECONDS if self.live else LINE_SECONDS

    def _show(self, step: int, state: str) -> None:
        if not self.live:
            self.say(f"  {state}")
            return
        self.send("state", step, self._total, f"{state}; {self._title}")
        now = time.monotonic()
        if now - self._logged >= LINE_SECONDS or step == self._total:
            self._logged = now
            super().say(f"  {state}")


class KillingReporter(PipeReporter):
    """Kills its own process after the first checkpoint of each training, once."""

    def __init__(self, job: WorkerJob, pipe: Connection) -> None:
        super().__init__(job, pipe)
        self.root: Path = job.config.results

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        super().step(step, epoch, metrics)
        folders = [path.parent for path in self.root.glob("progress/*/checkpoint.pt")]
        unmarked = [folder for folder in folders if not (folder / KILLED).exists()]
        for folder in unmarked:
            (folder / KILLED).touch()
        if unmarked:
            os.kill(os.getpid(), signal.SIGKILL)
