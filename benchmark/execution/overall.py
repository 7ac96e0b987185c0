"""How much of a command's work is done, over all of its stages and workers, and how long the rest takes. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmark.execution.estimate import Estimator
from benchmark.execution.units import Unit, units_of
from benchmark.progress import remaining
from benchmark.stages.plan import Plan
from results.store.folder import Store


class OverallProgress:
    """The progress of the missing stages of a plan, from finished stages and heartbeats, weighted by their estimated MACs.

    Args:
        plan: as it was before the work.
        store: the results folder.
        clock: seconds.
    """

    def __init__(self, plan: Plan, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.clock = store, clock
        estimator = Estimator(plan, store)
        self.macs = {unit: estimator.unit(unit).macs for unit in units_of(plan, {}) if unit.stages}
        self.total = sum(self.macs.values())
        self.started = clock()
        self.before = self._done()
        """MACs that earlier commands have done, in checkpoints."""

    def sentence(self) -> str | None:
        """The share that is done and the time left; None while nothing has been done."""
        done = self._done()
        if done <= self.before or not self.total:
            return None
        left = (self.clock() - self.started) / (done - self.before) * (self.total - done)
        return f"all stages: {100 * done / self.total:.0f} % done, about {remaining(left)} left"

    def _done(self) -> float:
        finished = self.store.done_stages()
        return sum(macs * self._share(unit, finished) for unit, macs in self.macs.items() if macs)

    def _share(self, unit: Unit, finished: frozenset[str]) -> float:
        if unit.names[0] in finished:
            return 1.0
        heartbeat = self.store.progress(unit.names[0]).heartbeat()
        return heartbeat.step / heartbeat.steps if heartbeat and heartbeat.steps else 0.0
