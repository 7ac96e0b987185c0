"""One training on a real Slurm, which tests disturb."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from results.provenance import EarlierAttempt
from results.store.attempts import Attempt, Heartbeat
from results.store.folder import Store
from tests.cluster.conftest import SLOW_AT_FIRST, Cluster, cluster_grid, on_slurm, records, tasks_of, until

LONGEST = 300.0
"""Seconds to wait for what takes half a minute on an idle machine."""


def copy_backbone(finished: Path, results: Path) -> None:
    """Copy the stages that do not depend on the training of exits."""
    store = Store(finished)
    scores = [name for name in store.stages("scores") if "0:finetune" in store.manifest(name)["fields"]["parents"]]
    for name in (*store.stages("finetune"), *store.stages("cost"), *scores):
        shutil.copytree(store.stage(name), Store(results).stage(name))


class Training:
    """A training of exits that was submitted; everything before it is finished.

    Args:
        cluster: where it runs.
        finished: results whose stages are copied, except those of the slow method.
        folder: of its grid and results.
        options: of the command.
        setup: shell command before its work, which makes its first start slow.
    """

    def __init__(
        self, cluster: Cluster, finished: Path, folder: Path, *options: object, setup: str = SLOW_AT_FIRST
    ) -> None:
        self.cluster, self.results = cluster, folder / "results"
        self.store = Store(self.results)
        grid = cluster_grid(folder, "limited", ["slow"])
        self.selection = ("--grid", grid, "--results", self.results)
        self.command = on_slurm(grid, self.results, *options)
        copy_backbone(finished, self.results)
        self.submit(*self.command, "--setup", setup)

    def submit(self, *command: object) -> str:
        """Run a command that submits it, and return what it prints."""
        done = self.cluster.command(*command)
        assert done.returncode == 0, done.stderr
        self.job, self.stage = [
            (task["job"], task["units"][0][0]) for task in tasks_of(self.results) if task["kind"] == "exits"
        ][-1]
        return done.stdout

    def started(self) -> Heartbeat:
        """Wait for its first checkpoint."""
        until(self._slow_step, LONGEST, self.output)
        beat = self._slow_step()
        assert beat is not None
        return beat

    def _slow_step(self) -> Heartbeat | None:
        beat = self.store.progress(self.stage).heartbeat()
        return beat if beat is not None and beat.epoch > 1 else None

    def failures(self) -> list[Attempt]:
        return [attempt for attempt in self.store.progress(self.stage).attempts() if attempt.failure is not None]

    def ends(self) -> tuple[EarlierAttempt, ...]:
        """Wait for the stage, and cancel what comes after it. Returns its earlier attempts."""
        until(lambda: self.store.has_stage(self.stage), LONGEST, lambda: self.cluster.says("squeue") + self.output())
        self.cluster.cancel(self.results)
        return self.store.provenance(self.stage).earlier

    def record(self) -> dict[str, Any]:
        """Wait for the record of its run, and cancel what comes after it."""
        until(lambda: records(self.results), LONGEST, lambda: self.cluster.says("squeue") + self.output())
        self.cluster.cancel(self.results)
        self.cluster.wait(self.results)
        (record,) = records(self.results)
        return record

    def output(self) -> str:
        return self.cluster.logs(self.results)
