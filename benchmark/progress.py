"""Live progress on a terminal, plain timed lines elsewhere: which run of how many, stage, epoch, loss, accuracy, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

LINE_SECONDS = 10.0
REFRESH_SECONDS = 0.25


def duration(seconds: float) -> str:
    """Seconds as people say them.

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


class Reporter:
    """Shows one stage at a time.

    Args:
        console: where to write.
        stop_requested: asked by the training loop at every step.
    """

    def __init__(self, console: Console, stop_requested: Callable[[], bool] = lambda: False) -> None:
        self.console = console
        self.stop_requested = stop_requested
        self.started = time.monotonic()
        self._bar: Progress | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """A line that stays; with the time since the start where lines are a log."""
        prefix = "" if self.console.is_terminal else f"[{duration(self.elapsed):>11}] "
        self.console.print(prefix + text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total_steps: int = 0, epochs: int = 0) -> Iterator[None]:
        """While entered, `step` speaks of this stage."""
        self._title, self._total, self._epochs = title, total_steps, epochs
        self._stage_started = self._shown = time.monotonic()
        self._first_step: int | None = None
        begun = time.monotonic()
        if total_steps:
            self.say(f"{title} ...")
        if total_steps and self.console.is_terminal:
            columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.fields[state]}"))
            with Progress(*columns, console=self.console, transient=True) as bar:
                self._bar, self._task = bar, bar.add_task("", total=total_steps, state="starting")
                try:
                    yield
                finally:
                    self._bar = None
        else:
            yield
        self.say(f"{title}: done in {duration(time.monotonic() - begun)}")

    def resumed(self, step: int, epoch: int) -> None:
        """A checkpoint was found after ``step`` steps, in ``epoch`` (0-based)."""
        self.say(f"  going on from the checkpoint in epoch {epoch + 1}, step {step} of {self._total}")

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        """After ``step`` steps, in ``epoch`` (0-based). ``metrics`` is called only when something is shown."""
        now = time.monotonic()
        if self._first_step is None:
            self._first_step, self._stage_started = step, now
        if now - self._shown < self._pause() and step < self._total:
            return
        self._shown = now
        self._show(step, self._state(step, epoch, metrics(), now))

    def _pause(self) -> float:
        """Seconds between two that are shown."""
        return REFRESH_SECONDS if self._bar else LINE_SECONDS

    def _show(self, step: int, state: str) -> None:
        if self._bar:
            self._bar.update(self._task, completed=step, state=state)
        else:
            self.say(f"  {state}")

    def _state(self, step: int, epoch: int, metrics: dict[str, float], now: float) -> str:
        parts = [f"epoch {epoch + 1}/{self._epochs}"]
        if "total" in metrics:
            parts.append(f"loss {metrics['total']:.3f}")
        if "accuracy" in metrics:
            parts.append(f"train accuracy {100 * metrics['accuracy']:.1f} %")
        done = step - (self._first_step or 0)
        if done > 0:
            left = (now - self._stage_started) / done * (self._total - step)
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)
