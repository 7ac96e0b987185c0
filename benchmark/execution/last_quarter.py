"""Measures the val accuracy of a backbone before the last quarter of its training, to show whether it has converged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmark.execution.val_accuracy import final_accuracy
from benchmark.training.inputs import Inputs
from benchmark.training.loop import Learner, Watcher
from methods.tasks.task import Task
from results.store.files import replace_file

FILE = "val.json"


class LastQuarterWatcher:
    """Watches a training like the watcher that it wraps, and writes the val accuracy at the end of one epoch to a file.

    The measurement changes no bit of the training. The file outlives an interruption, as the checkpoint does.

    Args:
        watcher: receives everything as well.
        learner: that trains a backbone.
        task: of the learner.
        inputs: the data.
        path: of the file.
        beat: writes the heartbeats of the training; called during the measurement.
    """

    def __init__(
        self, watcher: Watcher, learner: Learner, task: Task, inputs: Inputs, path: Path, beat: Callable[[], None]
    ) -> None:
        self.watcher, self.learner, self.task, self.inputs, self.path = watcher, learner, task, inputs, path
        self.beat = beat
        self.epoch = begin_of_last_quarter(learner.recipe.epochs)

    def resumed(self, step: int, epoch: int) -> None:
        self.watcher.resumed(step, epoch)

    def damaged(self, sentence: str) -> None:
        self.watcher.damaged(sentence)

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        if self.epoch and step == self.epoch * self.learner.steps_per_epoch:
            accuracy = final_accuracy(self.learner, self.task, self.inputs, self.beat)
            content = {"epoch": self.epoch, "epochs": self.learner.recipe.epochs, "val_accuracy": accuracy}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, (json.dumps(content) + "\n").encode(), durable=True)
        self.watcher.step(step, epoch, metrics)

    def stop_requested(self) -> bool:
        return self.watcher.stop_requested()


def begin_of_last_quarter(epochs: int) -> int:
    """The number of epochs before the last quarter, which has at least one; 0 for a single epoch."""
    return epochs - max(1, epochs // 4) if epochs else 0
