"""The local pool of worker processes that execute a plan: starts, displays, replaces and stops them. Imports no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from benchmark.errors import Interrupted, RankError, UserError
from benchmark.execution.attempts import MAX_DEATHS
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.exit_codes import EXIT_MISTAKE, EXIT_RANK_LOST, EXIT_STOPPED
from benchmark.execution.overall import OverallProgress
from benchmark.execution.watchdog import Watchdog
from benchmark.grid.load import Grid
from benchmark.progress import Reporter
from benchmark.stages.plan import Plan
from results.store.attempts import this_process
from results.store.folder import Store

POLL_SECONDS = 0.5
OVERALL_SECONDS = 5.0
OVERALL_LINE_SECONDS = 60.0
# timm uses torch.jit.script on import. Python's resource tracker cleans up after killed processes, and reports it.
IGNORED_WARNINGS = ("ignore::FutureWarning:torch.jit._script", "ignore:resource_tracker:UserWarning")
WORKER_MODULE = "benchmark.execution.worker"


@dataclass(eq=False)
class _Worker:
    """A worker, from the pool's side.

    Attributes:
        number: 0-based.
        pipe: the pool's end.
        bar: of the display.
        checks: whether it checks the plan first.
    """

    number: int
    process: BaseProcess
    pipe: Connection
    bar: TaskID
    checks: bool
    is_open: bool = True


@dataclass
class WorkerPool:
    """Workers that execute one plan in one results folder.

    Attributes:
        plan: its missing runs are made and recorded.
        config: of all workers; `config.workers` is their number.
        reporter: shows the workers' progress; says when to stop.
        stages: names of the only stages to make; then nothing is checked before and no run is recorded. Empty for all.
        logs: folder of the workers' logs, if it is not that of the session.
        deaths: how many workers were killed and replaced.
    """

    plan: Plan
    config: ExecutionConfig
    reporter: Reporter
    stages: frozenset[str] = frozenset()
    logs: Path | None = None
    deaths: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.config.results)
        restarts = this_process(self.config.session).restarts
        self.watchdog = Watchdog(self.store, self.config.session, self.config.hang_minutes, restarts)
        self.workers: list[_Worker] = []
        self.errors: list[UserError] = []
        self.stopping = False
        self.checked = False
        self.deaths_without_progress = 0
        self.overall: OverallProgress | None = None
        self.overall_shown = 0.0
        self.overall_bar: TaskID | None = None
        self.progress = Progress(
            TextColumn("{task.description}"), SpinnerColumn(), BarColumn(bar_width=16),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self.reporter.console, transient=True, expand=True,
        )  # fmt: skip

    def run(self) -> None:
        """Run the workers until every run has a record, or every stage of `stages` is made or has failed.

        Raises:
            UserError: a mistake of the user, or workers die repeatedly without progress.
            RankError: one of the processes that share a training died.
            Interrupted: the user asked to stop; every worker has written its checkpoint.
            KeyboardInterrupt: the user asked twice; every worker is dead.
        """
        os.environ.setdefault("PYTHONWARNINGS", ",".join(IGNORED_WARNINGS))
        # torch and timm are imported once: every worker, also one in place of a dead one, is a fork of a process that has them.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([WORKER_MODULE, "timm"])
        self.finished = self._count_finished()
        self.reporter.say(f"Loading torch{'' if self.stages else ', then checking models, data and weights'} ...")
        try:
            with self.progress if self.reporter.console.is_terminal else nullcontext():
                for number in range(self.config.workers if self.stages else 1):
                    self._start(number, checks=not self.stages)
                self._look_after()
        finally:
            for worker in self.workers:  # there are some only after a second Ctrl-C or an error in the pool
                self._kill(worker)
        if self.errors:
            rank_errors = [error for error in self.errors if isinstance(error, RankError)]
            messages = dict.fromkeys(message for error in self.errors for message in error.messages)
            raise rank_errors[0] if rank_errors else UserError(*messages)
        if self.stopping:
            raise Interrupted

    def _start(self, number: int, *, checks: bool = False) -> None:
        log = self._log(number)
        log.parent.mkdir(parents=True, exist_ok=True)
        config = self.config.model_copy(update={"worker": number, "log": log})
        grid = Grid(self.plan.grid.name, self.plan.grid.source, tuple(run.spec for run in self.plan.runs))
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=_work,
            args=(grid, config, checks, self.reporter.console.is_terminal, self.stages, theirs),
            name=f"worker {number + 1}",
        )
        process.start()
        theirs.close()
        bar = self.progress.add_task(self._prefix(number), total=None, state="starting")
        self.workers.append(_Worker(number, process, ours, bar, checks))

    def _log(self, number: int) -> Path:
        return (self.logs or self.store.logs(self.config.session)) / f"worker-{number + 1}.log"

    def _look_after(self) -> None:
        while self.workers:
            pipes: list[Any] = [worker.pipe for worker in self.workers if worker.is_open]
            connection.wait([*pipes, *(worker.process.sentinel for worker in self.workers)], timeout=POLL_SECONDS)
            for worker in list(self.workers):
                self._receive(worker)
                if not worker.process.is_alive():
                    self._receive(worker)
                    self._handle_end(worker)
            self._end_hangs()
            self._show_overall()
            if self.reporter.stop_requested():
                self._stop()

    def _end_hangs(self) -> None:
        """Kill workers whose training makes no steps. Others take their place and resume from the checkpoint."""
        for heartbeat in self.watchdog.silent(self.stages or (stage.name for stage in self.plan.missing_stages)):
            with suppress(ProcessLookupError):
                group = os.getpgid(heartbeat.by.pid)
                for worker in [worker for worker in self.workers if worker.process.pid == group]:
                    sentence = self.watchdog.note(heartbeat, "killed")
                    self.reporter.say(f"{heartbeat.stage}: {sentence}")
                    self._kill(worker)

    def _show_overall(self) -> None:
        """The time left over all stages: in a bar of its own, or a line a minute."""
        now = time.monotonic()
        live = self.reporter.console.is_terminal
        if self.overall is None or now - self.overall_shown < (OVERALL_SECONDS if live else OVERALL_LINE_SECONDS):
            return
        self.overall_shown = now
        sentence = self.overall.sentence()
        if sentence is None:
            return
        if not live:
            self.reporter.say(sentence)
        elif self.overall_bar is None:
            self.overall_bar = self.progress.add_task("", total=None, state=sentence)
        else:
            self.progress.update(self.overall_bar, state=sentence)

    def _prefix(self, number: int) -> str:
        return f"worker {number + 1}: " if self.config.workers > 1 else ""

    def _receive(self, worker: _Worker) -> None:
        while worker.is_open and worker.pipe.poll():
            try:
                kind, *content = worker.pipe.recv()
            except (EOFError, OSError):
                worker.is_open = False
                return
            if kind == "state":
                step, total, state = content
                self.progress.update(worker.bar, completed=step, total=total or None, state=state)
            elif kind == "say":
                self.reporter.say(f"{self._prefix(worker.number)}{content[0]}")
            elif kind == "mistakes":
                self.errors.append(UserError(*content))
            elif kind == "rank lost":
                self.errors.append(RankError(*content))
            elif kind == "checked":
                self.checked = True
                self.overall, self.overall_shown = OverallProgress(self.plan, self.store), time.monotonic()
                for number in range(1, self.config.workers):
                    if not self.stopping:
                        self._start(number)

    def _handle_end(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        self._kill(worker)
        worker.pipe.close()
        self.progress.remove_task(worker.bar)
        code = worker.process.exitcode
        assert code is not None
        if code == 0 or self.stopping:
            return
        if code in (EXIT_MISTAKE, EXIT_RANK_LOST, EXIT_STOPPED):  # the others would meet the same
            self._stop()
            return
        log = self._log(worker.number)
        finished = self._count_finished()
        self.deaths_without_progress = 1 if finished > self.finished else self.deaths_without_progress + 1
        self.finished = finished
        self.deaths += 1
        if self.deaths_without_progress > MAX_DEATHS * self.config.workers:
            message = f"{self.deaths_without_progress} workers in a row died before they made anything; see {log}"
            self.errors.append(UserError(message))
            self._stop()
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"died with exit code {code}"
        self.reporter.say(f"worker {worker.number + 1} {how} (see {log}); another takes its place")
        self._start(worker.number, checks=worker.checks and not self.checked)

    def _count_finished(self) -> int:
        """Number of finished stages and records."""
        return len(self.store.done_stages()) + len(self.store.run_ids())

    def _stop(self) -> None:
        """Ask every worker to stop after its next checkpoint."""
        if not self.stopping:
            self.stopping = True
            for worker in self.workers:
                with suppress(OSError):  # the process has ended
                    worker.pipe.send("stop")

    def _kill(self, worker: _Worker) -> None:
        """Kill a worker and every process that it has started: they are its process group."""
        pid = worker.process.pid
        assert pid is not None
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it has no group yet, or none is left
            if worker.process.is_alive():
                worker.process.kill()
        worker.process.join()


def _work(
    grid: Grid, config: ExecutionConfig, checks: bool, live: bool, stages: frozenset[str], pipe: Connection
) -> None:
    """Runs in the worker's process. It imports the worker's module there, because that needs torch and the pool does not."""
    from benchmark.execution.worker import WorkerJob, work

    work(WorkerJob(grid, config, checks, live, stages), pipe)
