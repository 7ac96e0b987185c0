"""The scheduler's signals in a task: the running step ends, its checkpoint is written, then the task is requeued.

submitit's own handler requeues at once, in the middle of a step. Ours notes the wish; the training stops behind the next step,
and only then submitit's handler is called. Where nothing stops in time (scoring has no checkpoints), it is called anyway.

SIGTERM alone comes from scancel, and from sites that preempt without the job's own signal. The checkpoint is written; whether
the job goes on is for Slurm to say, so the task waits for its end rather than reporting one of its own.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

END_SECONDS = 600.0
"""Longer than any site waits between SIGTERM and SIGKILL."""
PATIENCE = 60.0


class SchedulerSignals:
    """While it is entered, submitit's signal and SIGTERM set `requested`.

    Attributes:
        patience: seconds after the warning within which the running step must end.
        requeue: whether the scheduler's warning came, so that the task is to be requeued.
    """

    def __init__(self) -> None:
        self.warning = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"))
        self.patience = PATIENCE
        self.requested = self.requeue = False
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> SchedulerSignals:
        handlers = {self.warning: self._on_warning, signal.SIGTERM: self._on_term, signal.SIGALRM: self._on_alarm}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.alarm(0)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def go(self) -> None:
        """Called when everything is saved: requeue, or wait for the end that was announced. Returns only if none comes."""
        end = time.monotonic() + END_SECONDS
        while not self.requeue and time.monotonic() < end:
            time.sleep(0.2)
        if self.requeue:
            signal.alarm(0)
            self._previous[self.warning](self.warning, None)

    # A process that makes batches is a fork with the same handlers, and gets the same signals.

    def _on_warning(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process and not self.requeue:
            self.requested = self.requeue = True
            os.write(
                1, b"\nthe scheduler wants this task to end: it is requeued as soon as the checkpoint is written\n"
            )
            signal.alarm(max(1, round(self.patience)))

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process and not self.requested:
            self.requested = True
            os.write(1, b"\nSIGTERM: writing the checkpoint\n")

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            self._previous[self.warning](self.warning, frame)
