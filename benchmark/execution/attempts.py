"""Locks, attempts and heartbeats of stages, through which processes know what others are making. Imports no torch."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from benchmark.errors import Interrupted, RankError, blamed
from benchmark.execution.causes import BlockedError, HangError, KilledError, failure_of, sentence_of
from benchmark.progress import Reporter
from benchmark.stages.stage import Stage
from results.provenance import EarlierAttempt
from results.store.attempts import Attempt, Heartbeat, Outcome, Worker, now
from results.store.files import StoreError, UnwritableError, unwritable
from results.store.folder import Store
from results.store.locks import CannotLockError, Lock

MAX_DEATHS = 3
"""Crashes of a stage after which it fails, in a session; a requeued job counts anew, and --max-requeues limits its starts."""
EARLIER_ATTEMPTS = 50
REASON_LENGTH = 300
"""Maximum characters of a reason in the provenance of a stage."""
HEARTBEAT_SECONDS = 5.0
# Exceptions that are not failures of the stage. The cause of a lost rank is recorded by `Attempts.rank_lost`.
STOPS = (Interrupted, KeyboardInterrupt, SystemExit, RankError)


@dataclass
class Attempts:
    """Writes this process's locks, attempts and heartbeats, and reads those of others.

    Attributes:
        worker: this process.
        device: where it computes.
        cannot_lock: whether the file system turned out to have no locks.
        numbers: number of this process's attempt, by stage.
    """

    store: Store
    reporter: Reporter
    worker: Worker
    device: str
    cannot_lock: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def locked(self, names: Sequence[str]) -> Iterator[bool]:
        """Hold the locks of stages or runs, all or none.

        Yields:
            whether the locks are held; False if another process holds one.

        Raises:
            UnwritableError: a lock cannot be written, or belongs to another user, who does not share it.
        """
        with ExitStack() as held:
            yield all(self._lock(name, held) for name in sorted(names))

    def _lock(self, name: str, held: ExitStack) -> bool:
        lock = self.store.progress(name).lock()
        try:
            if not lock.acquire():
                return False
        except PermissionError as error:
            raise UnwritableError(
                f"cannot write {lock.path}, which belongs to another user; in a team's folder everybody sets umask 002"
            ) from error
        except CannotLockError:
            if not self.cannot_lock:
                self.cannot_lock = True
                self.reporter.say(
                    f"{self.store.root} cannot lock files: two processes may do the same work at once; the results are the same"
                )
        except OSError as error:  # as when the disk is full
            raise unwritable(lock.path, error) from error
        held.callback(self._release, name, lock)
        return True

    def _release(self, name: str, lock: Lock) -> None:
        if self.store.has_stage(name):  # another process made it before the lock was taken, and removed its folder
            self.store.progress(name).remove_lock()
        lock.release()

    def check_not_blocked(self, stage: Stage) -> None:
        """
        Raises:
            BlockedError: the stage has failed before in this session, or a parent is missing.
        """
        if attempt := self.failed(stage.name):
            raise BlockedError(stage.name, attempt.sentence)
        for parent in stage.parents:
            if not self.store.has_stage(parent.name):
                last = self.last_end(parent.name)
                raise BlockedError(parent.name, last.sentence if last and last.sentence else "it is not there")

    def failed(self, name: str) -> Attempt | None:
        """The attempt in which a stage failed for this session, if any; see `Attempt.is_final_for`."""
        last = self.last_end(name)
        return last if last and last.is_final_for(self.worker) else None

    def last_end(self, name: str) -> Attempt | None:
        """The latest attempt that has ended without finishing the stage."""
        ends = [attempt for attempt in self.store.progress(name).attempts() if attempt.outcome != "started"]
        return ends[-1] if ends else None

    def earlier(self, name: str) -> tuple[EarlierAttempt, ...]:
        """The latest attempts that ended without finishing a stage, for its provenance."""
        return tuple(
            EarlierAttempt(
                number=attempt.number, at=attempt.at, outcome=attempt.outcome, failure=attempt.failure,
                reason=attempt.sentence[:REASON_LENGTH], node=attempt.by.node or attempt.by.host,
            )
            for attempt in self.store.progress(name).attempts()
            if attempt.outcome != "started"
        )[-EARLIER_ATTEMPTS:]  # fmt: skip

    @contextmanager
    def attempt(self, stages: Sequence[Stage], requested: Stage) -> Iterator[None]:
        """Context manager: record the start of an attempt at stages whose locks are held, and its end by an exception.

        The exception counts as a failure of the stage whose learner raised it, else of the requested stage; the others were
        stopped. After a request to stop, it counts as a stop: the signal may have ended a loader process.
        """
        for stage in stages:
            self._start(stage.name)
        try:
            yield
        except BaseException as error:
            failed = blamed(error) or requested.name
            stopped = isinstance(error, STOPS) or self.reporter.stop_requested()
            for stage in stages:
                if self.store.has_stage(stage.name):
                    continue
                with suppress(StoreError):  # the error may be a full disk
                    if stage.name == failed and not stopped:
                        details = "".join(traceback.format_exception(error))
                        self._note(stage.name, "failed", error, details)
                    elif not self._is_ended(stage.name):
                        self._note(stage.name, "stopped")
            raise

    def _is_ended(self, name: str) -> bool:
        """Whether the watchdog has recorded the end of the present attempt."""
        attempts = self.store.progress(name).attempts()
        last = attempts[-1] if attempts else None
        return last is not None and last.number == self.numbers[name] and last.outcome != "started"

    def rank_lost(self, stages: Sequence[Stage], error: RankError) -> None:
        """Record why the ranks ended, for the stages that they were making; called by the process that started them."""
        for stage in stages:
            attempts = self.store.progress(stage.name).attempts()
            if not attempts or self.store.has_stage(stage.name):
                continue
            last = attempts[-1]
            if last.by.session == self.worker.session and last.outcome in ("started", "stopped"):
                self.numbers[stage.name] = last.number
                self._note(stage.name, "failed", error)

    def has_last_try(self, name: str) -> bool:
        """Whether the next crash is final. Such a stage is made alone, so that its crash affects no other stage."""
        return self.deaths(name) >= MAX_DEATHS - 1

    def deaths(self, name: str) -> int:
        """Number of crashes of a stage's processes, as `MAX_DEATHS` counts them. This process must not hold its lock."""
        progress = self.store.progress(name)
        attempts = [attempt for attempt in progress.attempts() if attempt.by.counts_for(self.worker)]
        recorded = sum(attempt.outcome == "killed" for attempt in attempts)
        not_yet_recorded = bool(attempts) and attempts[-1].outcome == "started" and progress.is_locked() is False
        return recorded + not_yet_recorded

    def startable(self, stages: Sequence[Stage]) -> list[Stage]:
        """The stages that have not failed in this session. Their locks are held, so crashes are recorded first."""
        for stage in stages:
            self._note_crash(stage.name)
        return [stage for stage in stages if self.failed(stage.name) is None]

    def _note_crash(self, name: str) -> None:
        """Record an attempt that ended without a record as killed, and the stage as failed after too many crashes or hangs."""
        progress = self.store.progress(name)
        progress.remove_temporary_files()
        attempts = progress.attempts()
        self.numbers[name] = sum(attempt.outcome == "started" for attempt in attempts)
        if not attempts or attempts[-1].outcome not in ("started", "killed") or self.cannot_lock:
            return
        if attempts[-1].outcome == "started":
            # This process holds the lock, so the process that recorded the start is dead.
            crash = attempts[-1].model_copy(update={"at": now(), "outcome": "killed"})
            progress.append(crash)
            attempts.append(crash)
        deaths = sum(attempt.outcome == "killed" and attempt.by.counts_for(self.worker) for attempt in attempts)
        if deaths >= MAX_DEATHS:
            self._note(name, "failed", _repeated(attempts[-1], f"{deaths} processes that made {name}"))

    def _start(self, name: str) -> None:
        self.numbers[name] += 1
        self._note(name, "started")
        at = now()
        first = Heartbeat(
            stage=name, by=self.worker, device=self.device, attempt=self.numbers[name], started=at, updated=at
        )
        self.store.progress(name).write_heartbeat(first)

    def _note(self, name: str, outcome: Outcome, error: BaseException | None = None, details: str = "") -> None:
        failure = None if error is None else failure_of(error)
        attempt = Attempt(
            number=self.numbers[name],
            at=now(),
            by=self.worker,
            outcome=outcome,
            failure=failure,
            sentence="" if error is None else sentence_of(error),
            details="" if failure == "disk-full" else details,  # a short line may still fit into the log's last block
        )
        self.store.progress(name).append(attempt)


def _repeated(last: Attempt, processes: str) -> Exception:
    """The error of a stage whose last allowed attempt ended in a crash or a hang."""
    if last.failure == "hang":
        return HangError(f"{processes} were ended; the last one: {last.sentence}")
    return KilledError(f"{processes} were killed, often because memory ran out")


class HeartbeatWriter:
    """Watches a training: reports each step, and writes the stages' heartbeats every few seconds.

    Args:
        attempts: of this process.
        names: of the stages.
        steps: of the whole training.
        epochs: of the whole training.
        images_per_step: on average.
    """

    def __init__(
        self, attempts: Attempts, names: Sequence[str], steps: int, epochs: int, images_per_step: float
    ) -> None:
        self.attempts, self.names = attempts, names
        self.steps, self.epochs, self.images_per_step = steps, epochs, images_per_step
        self.started = now()
        self.last_written = -HEARTBEAT_SECONDS
        self.first: tuple[int, float] | None = None
        self.latest = 0, 0

    def resumed(self, step: int, epoch: int) -> None:
        self.attempts.reporter.resumed(step, epoch)

    def damaged(self, sentence: str) -> None:
        self.attempts.reporter.say(f"  {sentence}")

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        at = time.monotonic()
        if self.first is None:
            self.first = step, at
        self.latest = step, epoch
        if at - self.last_written >= HEARTBEAT_SECONDS or step == self.steps:
            self._write(at)
        self.attempts.reporter.step(step, epoch, metrics)

    def beat(self) -> None:
        """Write the heartbeats between two steps, so that a long measurement there is not taken for a hang."""
        at = time.monotonic()
        if self.first is not None and at - self.last_written >= HEARTBEAT_SECONDS:
            self._write(at)

    def stop_requested(self) -> bool:
        return self.attempts.reporter.stop_requested()

    def _write(self, at: float) -> None:
        assert self.first is not None
        self.last_written = at
        step, epoch = self.latest
        done, seconds = step - self.first[0], at - self.first[1]
        steps_per_second = done / seconds if done and seconds else None
        updated = now()
        for name in self.names:
            self.attempts.store.progress(name).write_heartbeat(
                Heartbeat(
                    stage=name,
                    by=self.attempts.worker,
                    device=self.attempts.device,
                    attempt=self.attempts.numbers[name],
                    started=self.started,
                    updated=updated,
                    epoch=epoch + 1,
                    epochs=self.epochs,
                    step=step,
                    steps=self.steps,
                    images_per_second=steps_per_second and steps_per_second * self.images_per_step,
                    seconds_left=steps_per_second and (self.steps - step) / steps_per_second,
                )
            )
