"""Accuracy on val while a training runs, for display: nothing is chosen by it, and it changes no bit of the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark.training.inputs import Inputs
from benchmark.training.loop import Learner, Watcher
from methods.backbones.backbone import BlockBackbone
from methods.model import ExitHeads, MultiExitModel
from methods.tasks.task import Task

FIRST_SECONDS = 10.0
"""Shorter trainings show no accuracy on val."""
SHARE = 0.05
"""Largest share of the time of a training that is spent on its accuracy."""
IMAGES = 2_000
"""Images of val that are classified."""


class ValAccuracyWatcher:
    """Watches a training like the watcher that it wraps, and adds the first learner's accuracy on val to the metrics.

    It is computed at the ends of epochs, as often as `SHARE` permits, and shown during the next epoch. A step depends only on
    the weights and its number, and the weights and modes of all modules are as before, so the bits of the training do not
    change.

    Args:
        watcher: receives everything as well.
        learner: whose accuracy is shown.
        task: of the learner.
        inputs: the data.
        backbone: loads the frozen backbone of a learner that trains heads alone.
        clock: seconds.
    """

    def __init__(
        self,
        watcher: Watcher,
        learner: Learner,
        task: Task,
        inputs: Inputs,
        backbone: Callable[[], BlockBackbone],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watcher, self.learner, self.inputs, self.backbone, self.clock = watcher, learner, inputs, backbone, clock
        self.task = task
        self.started = clock()
        self.spent = self.last = 0.0
        self.model: nn.Module | None = None
        self.accuracy: dict[str, float] = {}

    def resumed(self, step: int, epoch: int) -> None:
        self.watcher.resumed(step, epoch)

    def damaged(self, sentence: str) -> None:
        self.watcher.damaged(sentence)

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        if step % self.learner.steps_per_epoch == 0:
            self.accuracy = {}
            if self._is_due():
                start = self.clock()
                self.accuracy = {"val accuracy": self._measure()}
                self.last = self.clock() - start
                self.spent += self.last
        self.watcher.step(step, epoch, lambda: {**metrics(), **self.accuracy})

    def stop_requested(self) -> bool:
        return self.watcher.stop_requested()

    def _is_due(self) -> bool:
        elapsed = self.clock() - self.started
        return elapsed >= FIRST_SECONDS and self.spent + self.last <= SHARE * elapsed

    def _measure(self) -> float:
        """Accuracy of the final classifier; of a learner that trains heads alone, the mean over its early exits."""
        if self.model is None:
            module = self.learner.module
            self.model = MultiExitModel(self.backbone(), module, self.task) if isinstance(module, ExitHeads) else module
        exits = slice(0, -1) if isinstance(self.learner.module, ExitHeads) else slice(-1, None)
        correct: list[Tensor] = []
        count = 0
        with in_evaluation(self.model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            for batch in self.inputs.scoring("val"):
                images = batch.images.to(self.learner.device)
                outputs = self.model.forward_all(images).logits if isinstance(self.model, MultiExitModel) else None
                of_exits = self.model(images)[None] if outputs is None else outputs[exits]
                right = [self.task.is_right(output.cpu(), batch.labels) for output in of_exits]
                correct.append(torch.stack(right).double().mean(0))
                count += len(batch.labels)
                if count >= IMAGES:
                    break
        return float(torch.cat(correct).mean())


def final_accuracy(learner: Learner, task: Task, inputs: Inputs, beat: Callable[[], None]) -> float:
    """The accuracy of the final classifier on all of val, in evaluation mode; the learner trains on as before.

    In segmentation it is the share of right pixels in each batch, averaged with the numbers of images as weights.

    Args:
        learner: that trains a backbone.
        task: of the learner.
        inputs: the data.
        beat: called after every batch, since all of val can take longer than a training may be silent.
    """
    correct, count = 0.0, 0
    with in_evaluation(learner.module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        for batch in inputs.scoring("val"):
            logits = learner.module(batch.images.to(learner.device))
            last = logits[-1] if isinstance(learner.module, MultiExitModel) else logits
            right = task.is_right(last.cpu(), batch.labels)
            correct += float(right.double().sum()) * len(batch.labels) / max(len(right), 1)
            count += len(batch.labels)
            beat()
    return correct / count


@contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """The modules in evaluation mode; afterwards each is in its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
