"""The making of stages as others see it: locks, starts and ends, heartbeats."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from benchmark.execution.causes import BlockedError, KilledError, failure_of, sentence_of
from benchmark.progress import Reporter
from benchmark.stages.stage import Stage
from benchmark.training.loop import Interrupted, TrainingDivergedError
from results.store.attempts import Attempt, Heartbeat, Outcome, Worker, now
from results.store.folder import Store, StoreError
from results.store.locks import CannotLockError

MOST_DEATHS = 3
"""As often may the processes that work on a stage die without a word, in one command or submission."""
BEAT_SECONDS = 5.0
LOOK_SECONDS = 0.5
# Ends that say nothing against the stage.
STOPS = (Interrupted, KeyboardInterrupt, SystemExit)


@dataclass
class Attempts:
    """What this process notes about its work in the folders that others look into.

    Attributes:
        me: this process.
        device: where it computes.
    """

    store: Store
    reporter: Reporter
    me: Worker
    device: str
    warned: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def taken(self, names: Sequence[str], *, wait: bool) -> Iterator[bool]:
        """Locks, while entered: all or none, always in the same order, so that nobody waits for one who waits.

        Args:
            names: of stages or runs.
            wait: for those that another process has; else go on without.

        Yields:
            whether we have them.

        Raises:
            Interrupted: the user asked to stop while we waited.
        """
        with ExitStack() as held:
            yield all(self._take(name, held, wait) for name in sorted(names))

    def _take(self, name: str, held: ExitStack, wait: bool) -> bool:
        lock = self.store.progress(name).lock()
        told = False
        try:
            while not lock.take():
                if not wait:
                    return False
                if not told:
                    self.reporter.say(f"{name}: another process is at it; waiting")
                    told = True
                if self.reporter.stop_requested():
                    raise Interrupted
                time.sleep(LOOK_SECONDS)
        except CannotLockError:
            if not self.warned:
                self.warned = True
                self.reporter.say(
                    f"{self.store.root} cannot lock files: two processes may do the same work at once, results stay the same"
                )
        held.callback(lock.release)
        return True

    def refuse(self, stage: Stage) -> None:
        """
        Raises:
            BlockedError: the stage has failed before in this command or submission, or what it needs is not there.
        """
        if failed := self.failed(stage.name):
            raise BlockedError(stage.name, failed.sentence)
        for parent in stage.parents:
            if not self.store.has_stage(parent.name):
                last = self.last_end(parent.name)
                raise BlockedError(parent.name, last.sentence if last and last.sentence else "it is not there")

    def failed(self, name: str) -> Attempt | None:
        """How a stage failed in this command or submission, if it did."""
        last = self.last_end(name)
        return last if last and last.outcome == "failed" and last.by.session == self.me.session else None

    def last_end(self, name: str) -> Attempt | None:
        ends = [attempt for attempt in self.store.progress(name).attempts() if attempt.outcome != "started"]
        return ends[-1] if ends else None

    @contextmanager
    def making(self, stages: Sequence[Stage], asked: Stage) -> Iterator[None]:
        """Notes the start of stages whose locks we have, and their end unless it is a good one.

        Where an exception ends it, the stage that it is about has failed; the others were stopped.
        """
        for stage in stages:
            self._start(stage.name)
        try:
            yield
        except BaseException as error:
            about = error.learner if isinstance(error, TrainingDivergedError) else asked.name
            for stage in stages:
                if self.store.has_stage(stage.name):
                    continue
                with suppress(StoreError):  # a full disk is what we may be about to tell
                    if stage.name == about and not isinstance(error, STOPS):
                        details = "".join(traceback.format_exception(error))
                        self._note(stage.name, "failed", error, details)
                    else:
                        self._note(stage.name, "stopped")
            raise

    def is_dangerous(self, name: str) -> bool:
        """Whether one more death would be one too many: such a stage is made alone, so that it sinks no other."""
        return self.deaths(name) >= MOST_DEATHS - 1

    def deaths(self, name: str) -> int:
        """How many processes died without a word while they made a stage, in this session; none of its locks may be ours."""
        progress = self.store.progress(name)
        mine = [one for one in progress.attempts() if one.by.session == self.me.session]
        noted = sum(one.outcome == "killed" for one in mine)
        just_now = bool(mine) and mine[-1].outcome == "started" and progress.is_being_made() is False
        return noted + just_now

    def startable(self, stages: Sequence[Stage]) -> list[Stage]:
        """Those of stages, whose locks we have, that have not been the death of too many processes."""
        for stage in stages:
            self._look_back(stage.name)
        return [stage for stage in stages if self.failed(stage.name) is None]

    def _look_back(self, name: str) -> None:
        """Note who died, and that the stage has failed where that happened too often."""
        progress = self.store.progress(name)
        progress.tidy()
        attempts = progress.attempts()
        self.numbers[name] = sum(one.outcome == "started" for one in attempts)
        if not attempts or attempts[-1].outcome != "started" or self.warned:
            return
        # We have the lock, so whoever started is dead.
        dead = attempts[-1].model_copy(update={"at": now(), "outcome": "killed"})
        progress.note(dead)
        deaths = sum(one.outcome == "killed" and one.by.session == self.me.session for one in [*attempts, dead])
        if deaths >= MOST_DEATHS:
            error = KilledError(
                f"{deaths} processes that made {name} died without a word; often that is the system, short of memory"
            )
            self._note(name, "failed", error)

    def _start(self, name: str) -> None:
        self.numbers[name] += 1
        self._note(name, "started")
        at = now()
        first = Heartbeat(
            stage=name, by=self.me, device=self.device, attempt=self.numbers[name], started=at, updated=at
        )
        self.store.progress(name).beat(first)

    def _note(self, name: str, outcome: Outcome, error: BaseException | None = None, details: str = "") -> None:
        attempt = Attempt(
            number=self.numbers[name],
            at=now(),
            by=self.me,
            outcome=outcome,
            failure=None if error is None else failure_of(error),
            sentence="" if error is None else sentence_of(error),
            details=details,
        )
        self.store.progress(name).note(attempt)

    def heart(self, stages: Sequence[Stage], steps: int, epochs: int, images_per_step: float) -> Heart:
        """The watcher of a training of these stages."""
        return Heart(self, [stage.name for stage in stages], steps, epochs, images_per_step)


class Heart:
    """Told by the training loop about every step; tells the reporter, and the heartbeats every few seconds.

    Args:
        attempts: of this process.
        names: of the stages.
        steps: of the whole training.
        epochs: likewise.
        images_per_step: on average.
    """

    def __init__(
        self, attempts: Attempts, names: Sequence[str], steps: int, epochs: int, images_per_step: float
    ) -> None:
        self.attempts, self.names = attempts, names
        self.steps, self.epochs, self.images_per_step = steps, epochs, images_per_step
        self.started = now()
        self.beaten = -BEAT_SECONDS
        self.first: tuple[int, float] | None = None

    def resumed(self, step: int, epoch: int) -> None:
        self.attempts.reporter.resumed(step, epoch)

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        at = time.monotonic()
        if self.first is None:
            self.first = step, at
        if at - self.beaten >= BEAT_SECONDS or step == self.steps:
            self.beaten = at
            self._beat(step, epoch, at)
        self.attempts.reporter.step(step, epoch, metrics)

    def stop_requested(self) -> bool:
        return self.attempts.reporter.stop_requested()

    def _beat(self, step: int, epoch: int, at: float) -> None:
        assert self.first is not None
        done, seconds = step - self.first[0], at - self.first[1]
        rate = done / seconds if done and seconds else None
        updated = now()
        for name in self.names:
            self.attempts.store.progress(name).beat(
                Heartbeat(
                    stage=name,
                    by=self.attempts.me,
                    device=self.attempts.device,
                    attempt=self.attempts.numbers[name],
                    started=self.started,
                    updated=updated,
                    epoch=epoch + 1,
                    epochs=self.epochs,
                    step=step,
                    steps=self.steps,
                    images_per_second=rate and rate * self.images_per_step,
                    seconds_left=rate and (self.steps - step) / rate,
                )
            )
