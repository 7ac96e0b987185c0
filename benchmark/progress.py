"""Prints the progress of stages: epoch, loss, accuracy and remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from benchmark.text_table import wrapped

LINE_SECONDS = 10.0


def duration(seconds: float) -> str:
    """Seconds in readable units.

    >>> duration(75)
    '1 min 15 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def remaining(seconds: float) -> str:
    """An estimate, to the minute from one minute on.

    >>> remaining(50), remaining(140), remaining(7500)
    ('50 s', '2 min', '2 h 05 min')
    """
    return duration(seconds).partition(" min ")[0] + " min" if 59.5 <= seconds < 3599.5 else duration(seconds)


class Reporter:
    """Reports one stage at a time.

    Args:
        console: where to write.
        stop_requested: called by the training loop at every step.
    """

    def __init__(self, console: Console, stop_requested: Callable[[], bool] = lambda: False) -> None:
        self.console = console
        self.stop_requested = stop_requested
        self.started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """Write a line; in a log, with the time since the start."""
        prefix = "" if self.console.is_terminal else f"[{duration(self.elapsed):>11}] "
        indent = prefix + " " * (len(text) - len(text.lstrip()))
        lines = "\n".join(wrapped(text.lstrip(), self.console.width, indent))
        self.console.print(lines, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total_steps: int = 0, epochs: int = 0, measured: str = "accuracy") -> Iterator[None]:
        """Context of one stage, to which `step` refers.

        Args:
            title: of the stage.
            total_steps: 0 for a stage whose steps are not shown.
            epochs: 0 for a stage that does not train.
            measured: what the metric ``accuracy`` of a training is in its task (`results.metric.Metric.in_training`).
        """
        self._title, self._total, self._epochs, self._measured = title, total_steps, epochs, measured
        start = self._first_step_time = self._last_shown = time.monotonic()
        self._first_step: int | None = None
        if total_steps:
            self.say(f"{title} ...")
        yield
        self.say(f"{title}: done in {duration(time.monotonic() - start)}")

    def resumed(self, step: int, epoch: int) -> None:
        """The stage starts from a checkpoint after ``step`` steps, in ``epoch`` (0-based), or after all epochs."""
        self.say(
            f"  resuming from the checkpoint in epoch {min(epoch + 1, self._epochs)}, step {step} of {self._total}"
        )

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        """After ``step`` steps, in ``epoch`` (0-based). ``metrics`` is called only when something is shown."""
        now = time.monotonic()
        if self._first_step is None:
            self._first_step, self._first_step_time = step, now
        if now - self._last_shown < self._interval and step < self._total:
            return
        self._last_shown = now
        self._show(step, self._state(step, epoch, metrics(), now))

    def waiting(self) -> None:
        """Called while this process waits for stages that other processes make."""

    @property
    def _interval(self) -> float:
        """Seconds between two lines of progress."""
        return LINE_SECONDS

    def _show(self, step: int, state: str) -> None:
        self.say(f"  {state}")

    def _state(self, step: int, epoch: int, metrics: dict[str, float], now: float) -> str:
        parts = [f"epoch {epoch + 1}/{self._epochs}" if self._epochs else f"{step:,} of {self._total:,}"]
        if "total" in metrics:
            parts.append(f"loss {metrics['total']:.3f}")
        if "accuracy" in metrics:
            val = f" (val {100 * metrics['val accuracy']:.1f} %)" if "val accuracy" in metrics else ""
            parts.append(f"{self._measured} {100 * metrics['accuracy']:.1f} %{val}")
        done = step - (self._first_step or 0)
        if done > 0:
            left = (now - self._first_step_time) / done * (self._total - step)
            parts.append(f"{remaining(left)} left")
        return ", ".join(parts)
