"""Finds trainings that make no more steps. A process other than the training watches, because that one may be stopped.

Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from results.store.attempts import Attempt, Heartbeat, Outcome, now
from results.store.folder import Store

POLL_SECONDS = 10.0


class Watchdog:
    """Watches the heartbeats of a session's trainings.

    Silence is measured by this process's own clock, so neither another machine's clock nor a suspended computer counts.

    Args:
        store: the results folder.
        session: of the command or submission.
        minutes: of silence that are allowed after the first step of an attempt.
        restarts: number of earlier starts of the scheduler's job; their heartbeats say nothing about this start.
    """

    def __init__(self, store: Store, session: str, minutes: float, restarts: int = 0) -> None:
        self.store, self.session, self.minutes, self.restarts = store, session, minutes, restarts
        self._changes: dict[str, tuple[datetime, float]] = {}
        self._polled = time.monotonic()

    def silent(self, names: Iterable[str]) -> list[Heartbeat]:
        """The last heartbeats of silent trainings among these stages. Looks at the files every few seconds only."""
        at = time.monotonic()
        if at - self._polled < min(POLL_SECONDS, self.minutes * 60):
            return []
        self._polled = at
        silent = []
        for name in names:
            heartbeat = self.store.progress(name).heartbeat()
            if heartbeat is None or not self._is_watched(heartbeat):
                self._changes.pop(name, None)
                continue
            updated, since = self._changes.get(name, (None, at))
            if updated != heartbeat.updated:
                since = at
            self._changes[name] = heartbeat.updated, since
            if at - since > self.minutes * 60:
                silent.append(heartbeat)
        return silent

    def _is_watched(self, heartbeat: Heartbeat) -> bool:
        by = heartbeat.by
        return by.session == self.session and by.restarts == self.restarts and heartbeat.step < heartbeat.steps

    def note(self, heartbeat: Heartbeat, outcome: Outcome) -> str:
        """Record the end of a silent attempt. Returns the sentence of the record."""
        place = f"epoch {heartbeat.epoch} of {heartbeat.epochs}, step {heartbeat.step} of {heartbeat.steps}"
        sentence = f"no step for {self.minutes:g} minutes ({place}); --hang-minutes sets this limit"
        attempt = Attempt(
            number=heartbeat.attempt, at=now(), by=heartbeat.by, outcome=outcome, failure="hang", sentence=sentence
        )
        self.store.progress(heartbeat.stage).append(attempt)
        self._changes.pop(heartbeat.stage, None)
        return sentence
