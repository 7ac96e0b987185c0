"""Training curves for TensorBoard, written beside the results by torch's own SummaryWriter."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.stages.stage import Stage
from benchmark.training.loop import Learner, Watcher
from benchmark.training.optimizer import learning_rate

FOLDER = "tensorboard"
"""Subfolder of the results folder: one folder for each training stage."""


class CurveWriter:
    """Watches a training like the watcher that it wraps, and writes the mean losses and the learning rate of each epoch.

    A stage that is resumed writes its curves anew from the history in its checkpoint, so that they have neither a gap nor an
    epoch twice, whenever the process before was killed. Only the process that leads a training has a watcher that writes.

    Args:
        watcher: receives everything as well.
        stages: that are trained in one pass.
        learners: of these stages.
        root: the results folder.
    """

    def __init__(self, watcher: Watcher, stages: Sequence[Stage], learners: Sequence[Learner], root: Path) -> None:
        # Only trainings that write curves import it: it needs the package tensorboard, and a second.
        from torch.utils.tensorboard import SummaryWriter

        self.watcher, self.learners = watcher, learners
        self.written = [0] * len(learners)
        self.writers = []
        for stage in stages:
            folder = root / FOLDER / curve_name(stage)
            shutil.rmtree(folder, ignore_errors=True)
            self.writers.append(SummaryWriter(str(folder)))

    def resumed(self, step: int, epoch: int) -> None:
        self._write()
        self.watcher.resumed(step, epoch)

    def damaged(self, sentence: str) -> None:
        self.watcher.damaged(sentence)

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        self._write()
        self.watcher.step(step, epoch, metrics)

    def stop_requested(self) -> bool:
        return self.watcher.stop_requested()

    def close(self) -> None:
        """Write what is left to the disk."""
        self._write()
        for writer in self.writers:
            writer.close()

    def _write(self) -> None:
        """The epochs that have ended since the last call."""
        for position, (learner, writer) in enumerate(zip(self.learners, self.writers, strict=True)):
            for epoch in range(self.written[position], len(learner.history)):
                for name, value in learner.history[epoch].items():
                    writer.add_scalar("loss" if name == "total" else name, value, epoch + 1)
                last_step = (epoch + 1) * learner.steps_per_epoch - 1
                writer.add_scalar(
                    "learning rate", learning_rate(learner.recipe, last_step, learner.total_steps), epoch + 1
                )
                writer.flush()
            self.written[position] = len(learner.history)


def curve_name(stage: Stage) -> str:
    """The name under which TensorBoard shows a stage: readable, and unique by the end of its key."""
    train = stage.run.train
    name = train.backbone if stage.kind == "finetune" else f"{train.method.label}-{train.backbone}"
    readable = "".join(letter if letter.isalnum() or letter in "._-=" else "_" for letter in name)
    return f"{stage.kind}-{readable}-s{train.seed}-{stage.key[-8:]}"
