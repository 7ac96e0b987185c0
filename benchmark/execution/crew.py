"""Several workers on this machine, and the process that looks after them: shows what they do, replaces who dies, stops them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from rich.live import Live
from rich.text import Text

from benchmark.errors import UserError
from benchmark.execution.attempt import MOST_DEATHS
from benchmark.execution.worker import MISTAKE, STOPPED, Order, work
from benchmark.progress import Reporter
from benchmark.training.loop import Interrupted
from results.store.folder import Store

LOOK_SECONDS = 0.5


@dataclass(eq=False)
class _Member:
    """A worker: its number, process, our end of its pipe, and what it does."""

    number: int
    process: BaseProcess
    pipe: Connection
    state: str = "starting"
    open: bool = True


@dataclass
class Crew:
    """Workers at one plan in one results folder, whose lock the caller has.

    Attributes:
        orders: one a worker.
        store: the results.
        reporter: says what they say; asked whether to stop.
    """

    orders: list[Order]
    store: Store
    reporter: Reporter
    members: list[_Member] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    stopping: bool = False
    fruitless: int = 0
    there: int = 0

    def run(self) -> None:
        """Come back when every run has a record.

        Raises:
            UserError: something that the user must mend first, or workers die before they get anywhere.
            Interrupted: the user asked to stop; every worker has written its checkpoint.
            KeyboardInterrupt: the user asked twice; every worker is dead.
        """
        # timm uses torch.jit.script on import; nothing a user could do about it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning:torch.jit._script")
        # torch and timm are imported once; every worker is a fork of the process that has them.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["benchmark.execution.worker"])
        self.there = self._count()
        try:
            for number in range(1, len(self.orders) + 1):
                self._start(number)
            self._look_after()
        finally:
            for member in self.members:  # none is left but after a mistake of ours or a second Ctrl-C
                self._kill(member)
        if self.mistakes:
            raise UserError(*dict.fromkeys(self.mistakes))
        if self.stopping:
            raise Interrupted

    def _start(self, number: int) -> None:
        order = self.orders[number - 1]
        order.log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=work, args=(order, theirs), name=f"worker {number}")
        process.start()
        theirs.close()
        self.members.append(_Member(number, process, ours))

    def _look_after(self) -> None:
        on_screen = self.reporter.console.is_terminal
        view = Live(self._lines(), console=self.reporter.console, transient=True, auto_refresh=False)
        with view if on_screen else nullcontext():
            while self.members:
                waiting: list[Any] = [m.pipe for m in self.members if m.open]
                connection.wait([*waiting, *(m.process.sentinel for m in self.members)], timeout=LOOK_SECONDS)
                for member in list(self.members):
                    self._listen(member)
                    if not member.process.is_alive():
                        self._listen(member)
                        self._ended(member)
                if self.reporter.stop_requested():
                    self._stop()
                if on_screen:
                    view.update(self._lines(), refresh=True)

    def _lines(self) -> Text:
        """What is going on, a line a worker."""
        lines = [Text(f"worker {m.number}: {m.state}") for m in sorted(self.members, key=lambda m: m.number)]
        for line in lines:
            line.truncate(max(self.reporter.console.width - 1, 20), overflow="ellipsis")
        return Text("\n").join(lines)

    def _listen(self, member: _Member) -> None:
        with suppress(EOFError, OSError):
            while member.open and member.pipe.poll():
                try:
                    kind, *what = member.pipe.recv()
                except (EOFError, OSError):
                    member.open = False
                    return
                if kind == "state":
                    (member.state,) = what
                elif kind == "say":
                    self.reporter.say(f"worker {member.number}: {what[0]}")
                else:
                    self.mistakes += what

    def _ended(self, member: _Member) -> None:
        self.members.remove(member)
        member.pipe.close()
        code = member.process.exitcode
        if code == 0 or self.stopping:
            return
        if code in (MISTAKE, STOPPED):  # others would meet the mistake too; a worker that was asked speaks for all
            self._stop()
            return
        assert code is not None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"died with exit code {code}"
        log = self.orders[member.number - 1].log
        there = self._count()
        self.fruitless = 1 if there > self.there else self.fruitless + 1
        self.there = there
        if self.fruitless > MOST_DEATHS * len(self.orders):
            self.mistakes.append(f"{self.fruitless} workers in a row died before anything was made; see {log}")
            self._stop()
            return
        self.reporter.say(f"worker {member.number} {how} (see {log}); another takes its place")
        self._start(member.number)

    def _count(self) -> int:
        """What has been made so far."""
        return len(self.store.done_stages()) + len(self.store.run_ids())

    def _stop(self) -> None:
        """Ask everybody to stop behind the next checkpoint."""
        if not self.stopping:
            self.stopping = True
            for member in self.members:
                member.process.terminate()

    def _kill(self, member: _Member) -> None:
        """With the processes that make its batches."""
        pid = member.process.pid
        if pid is not None and member.process.is_alive():
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group yet
                member.process.kill()
        member.process.join()


def orders_for(workers: int, order: Order, devices: list[str]) -> list[Order]:
    """An order for each of several workers: a log each, and the devices in turn."""
    return [
        replace(order, device=devices[i % len(devices)], log=order.log / f"worker-{i + 1}.log") for i in range(workers)
    ]
