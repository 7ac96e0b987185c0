"""One of several processes that work through a plan together: it takes what is free, until every run has its record."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.errors import UserError
from benchmark.execution.device import set_up_torch
from benchmark.execution.interrupt import StopRequest
from benchmark.execution.maker import FATAL, StageMaker
from benchmark.grid.load import Grid
from benchmark.progress import LINE_SECONDS, Reporter
from benchmark.stages.plan import make_plan
from benchmark.stages.stage import RunStages
from benchmark.training.loop import Interrupted
from datasets.api import DataError
from results.store.folder import Store, StoreError

SHOW_SECONDS = 0.5
LOOK_SECONDS = 0.5
STOPPED = 130
MISTAKE = 2


@dataclass(frozen=True)
class Order:
    """What a worker is told at its start.

    Attributes:
        root: of the results.
        device: of torch.
        threads: of torch.
        data_dir: where the user keeps datasets, if named.
        loader_processes: that make batches; None to choose at most `most_loaders`.
        session: that all workers share.
        log: for its output.
        live: whether somebody looks on, so that progress is told twice a second.
    """

    grid: Grid
    root: Path
    device: str
    threads: int
    data_dir: Path | None
    loader_processes: int | None
    most_loaders: int
    session: str
    log: Path
    live: bool


def work(order: Order, pipe: Connection) -> None:
    """The process: it ends with 0 when nothing is left, else with `STOPPED` or `MISTAKE`, and tells what it does."""
    os.setsid()  # Ctrl-C is for the process that started us; it asks us
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with StopRequest() as stop, order.log.open("a", encoding="utf-8") as file:
        reporter = _Telling(Console(file=file, width=160), _Orphan(lambda: stop.requested), pipe, order.live)
        try:
            device = set_up_torch(order.device, order.threads)
            store = Store(order.root)
            plan = make_plan(order.grid, store)
            maker = StageMaker(
                plan, store, reporter, device, order.data_dir, order.loader_processes, order.session, order.log,
                most_loaders=order.most_loaders,
            )  # fmt: skip
            take_what_is_free(maker, reporter.idle)
        except (Interrupted, KeyboardInterrupt):
            os._exit(STOPPED)
        except (UserError, DataError, StoreError) as error:
            reporter.tell("mistake", *(error.messages if isinstance(error, UserError) else [str(error)]))
            os._exit(MISTAKE)


def take_what_is_free(maker: StageMaker, idle: Callable[[], None] = lambda: None) -> None:
    """Make stages and record runs that no other process is at, until every missing run of the plan has a record.

    Args:
        maker: of this process; failed records must have been set aside.
        idle: called when all that is left waits for others.

    Raises:
        Interrupted: the user asked to stop.
    """
    left = maker.plan.missing_runs
    while left:
        moved = False
        still = []
        for run in left:
            moved |= _advance(maker, run)
            if not _is_recorded(maker, run):
                still.append(run)
        left = still
        if left and not moved:
            if maker.reporter.stop_requested():
                raise Interrupted
            idle()
            time.sleep(LOOK_SECONDS)


def _advance(maker: StageMaker, run: RunStages) -> bool:
    """Make what is free of one run; its record, if nothing is left of it or it cannot be made. Whether anything was done."""
    if _is_recorded(maker, run):
        return False
    moved, waiting = False, False
    for stage in run.chain:
        if maker.store.has_stage(stage.name):
            continue
        if maker.attempts.failed(stage.name):
            return _conclude(maker, run) or moved
        if not all(maker.store.has_stage(parent.name) for parent in stage.parents):
            waiting = True
            continue
        try:
            made = maker.make(stage, wait=False)
        except FATAL:
            raise
        except Exception:  # the stage's attempts know it now, for every worker
            return _conclude(maker, run) or moved
        moved |= made
        waiting |= not made
    return moved if waiting else _conclude(maker, run) or moved


def _conclude(maker: StageMaker, run: RunStages) -> bool:
    with maker.attempts.taken([run.run_id], wait=False) as taken:
        if not taken or _is_recorded(maker, run):
            return False
        maker.conclude(run)
        maker.store.progress(run.run_id).drop_lock()
    return True


def _is_recorded(maker: StageMaker, run: RunStages) -> bool:
    return (maker.store.run(run.run_id) / "record.json").is_file()


class _Orphan:
    """Whether to stop: asked to, or left behind by the process that started us."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked
        self.looked = 0.0
        self.left_behind = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self.looked > LOOK_SECONDS:
            self.looked = now
            starter = multiprocessing.parent_process()
            self.left_behind = starter is not None and not starter.is_alive()
        return self.left_behind or self.asked()


class _Telling(Reporter):
    """Writes to the log, and tells the process that started us."""

    def __init__(self, console: Console, stop_requested: Callable[[], bool], pipe: Connection, live: bool) -> None:
        super().__init__(console, stop_requested)
        self.pipe, self.live = pipe, live
        self._logged = 0.0

    def tell(self, kind: str, *what: Any) -> None:
        with suppress(OSError):  # nobody listens any more; `_Orphan` sees to it
            self.pipe.send((kind, *what))

    def say(self, text: str) -> None:
        super().say(text)
        self.tell("say", text)

    @contextmanager
    def stage(self, title: str, total_steps: int = 0, epochs: int = 0) -> Iterator[None]:
        self.tell("state", title)
        with super().stage(title, total_steps, epochs):
            yield

    def idle(self) -> None:
        self.tell("state", "waiting for what the others make")

    def _pause(self) -> float:
        return SHOW_SECONDS if self.live else LINE_SECONDS

    def _show(self, step: int, state: str) -> None:
        if not self.live:
            self.say(f"  {state}")
            return
        self.tell("state", f"{state}; {self._title}")
        now = time.monotonic()
        if now - self._logged >= LINE_SECONDS or step == self._total:
            self._logged = now
            super().say(f"  {state}")
