"""The training loop: one pass over the data feeds one learner or many; all can stop at any step and go on.

What a step does depends on the weights, the optimizer's state and the step's number, never on how the process got there:
torch's generator is seeded anew for every step, the order and the augmentation of an epoch come from its number, and the
learning rate from the step's. So a resumed training gives the bits of an undisturbed one, and learners trained together
give the bits that they give alone.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmark.pipeline.optimizer import learning_rate, make_optimizer
from benchmark.seeds import seed_for
from benchmark.spec import Recipe
from datasets.loading import Batch
from results.store import StoreError, write_file

CHECKPOINT_SECONDS = 60.0


class TrainingDivergedError(Exception):
    """The loss is no longer a number.

    Attributes:
        learner: name of the learner whose loss it is; the others in its pass are sound.
    """

    def __init__(self, learner: str, message: str) -> None:
        super().__init__(message)
        self.learner = learner


class Interrupted(Exception):
    """The user asked to stop; the checkpoint is written."""


class Watcher(Protocol):
    """Who is told about progress, and who says when to stop."""

    def resumed(self, step: int, epoch: int) -> None: ...

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None: ...

    def stop_requested(self) -> bool: ...


@dataclass(frozen=True)
class Position:
    """Where a training is: optimizer steps and forward passes done, which differ where gradients are accumulated."""

    step: int
    forward: int


@dataclass
class Learner:
    """Something that learns from batches.

    Attributes:
        name: of the stage that it trains; names the checkpoint.
        module: what is trained and stored.
        losses: (batch, frozen pass, position) to named scalars; ``total`` is minimised, the rest is logged.
        recipe: how.
        seed: of whatever is random inside a step (dropout, drop-path).
        steps_per_epoch: batches in an epoch.
    """

    name: str
    module: nn.Module
    losses: Callable[[Batch, Any, Position], dict[str, Tensor]]
    recipe: Recipe
    seed: int
    steps_per_epoch: int
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.module, self.recipe)

    @property
    def total_steps(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    def backward(self, part: Batch, frozen: Any, number: int, share: float) -> None:
        """Forward and backward of the ``number``-th part of a step, which holds ``share`` of its images."""
        torch.manual_seed(seed_for("step", self.seed, self.step, number))
        if number == 0:
            self.optimizer.zero_grad()
        terms = self.losses(part, frozen, Position(self.step, self.step * self.recipe.accumulate + number))
        (share * terms["total"]).backward()
        count = len(part.labels)
        for key, value in terms.items():  # a term that only some steps have is a mean over those
            self.sums[key] = self.sums.get(key, torch.zeros((), dtype=torch.float64)) + value.detach().double() * count
            self.images[key] = self.images.get(key, 0) + count

    def update(self) -> None:
        """The optimizer's step, when all parts have gone backward."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.total_steps)
        if self.recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_grad)
        self.optimizer.step()
        self.step += 1
        if self.step % self.steps_per_epoch == 0:
            self.history.append(self.means())
            self.sums, self.images = {}, {}

    def means(self) -> dict[str, float]:
        """Means over the images of the running epoch; of the last epoch between two epochs.

        Raises:
            TrainingDivergedError: the loss is not a number.
        """
        if not self.sums:
            return self.history[-1] if self.history else {}
        means = {key: float(value) / self.images[key] for key, value in self.sums.items()}
        if not torch.isfinite(torch.tensor(means["total"])):
            epoch = (self.step - 1) // self.steps_per_epoch + 1
            message = f"{self.name}: the loss is {means['total']} in epoch {epoch}; a smaller lr may help"
            raise TrainingDivergedError(self.name, message)
        return means

    def save(self, path: Path) -> None:
        buffer = io.BytesIO()
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "sums": self.sums,
            "images": self.images,
            "history": self.history,
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
        }
        torch.save(state, buffer)
        write_file(path, buffer.getvalue())

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one; with its number of threads, on which the bits depend."""
        if not path.is_file():
            return
        device = next(self.module.parameters()).device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # whatever a damaged file makes torch raise
            raise StoreError(f"{path} cannot be resumed from ({error}); remove it to start this stage again") from error
        self.step, self.history = state["step"], state["history"]
        self.sums, self.images = state["sums"], state["images"]
        self.seconds = state["seconds"]
        torch.set_num_threads(state["threads"])


def fit(
    learners: Sequence[Learner],
    batches: Callable[[int, int], Iterable[Batch]],
    frozen: Callable[[Batch], Any],
    checkpoint: Callable[[Learner], Path],
    watcher: Watcher,
    device: torch.device,
) -> None:
    """Train every learner to the end of its recipe.

    Args:
        learners: with the same epochs and batches.
        batches: (epoch, number of batches to skip) to the rest of that epoch.
        frozen: what is computed once a batch for all learners, under no gradient.
        checkpoint: where a learner's checkpoint lies.
        watcher: told about every step; asked whether to stop.
        device: of the modules.

    Raises:
        Interrupted: the watcher wants to stop; every learner's checkpoint is written.
        TrainingDivergedError: a loss is not a number.
    """
    for learner in learners:
        learner.resume(checkpoint(learner))
    first = learners[0]
    step = min(learner.step for learner in learners)
    if step:
        watcher.resumed(step, step // first.steps_per_epoch)
    saved = started = time.monotonic()

    def save() -> None:
        nonlocal saved, started
        now = time.monotonic()
        for learner in learners:
            learner.means()  # a broken learner is not saved
            learner.seconds += now - started
            learner.save(checkpoint(learner))
        saved = started = now

    while step < first.total_steps:
        epoch, skip = divmod(step, first.steps_per_epoch)
        for batch in batches(epoch, skip):
            # After a kill between two saves one learner may be ahead: it waits until the others have caught up.
            learning = [learner for learner in learners if learner.step == step]
            for number, part in enumerate(batch.parts(first.recipe.accumulate)):
                part = part.to(device)
                torch.manual_seed(seed_for("frozen", first.seed, step, number))
                shared = frozen(part)
                for learner in learning:
                    learner.backward(part, shared, number, len(part.labels) / len(batch.labels))
            for learner in learning:
                learner.update()
            step += 1
            watcher.step(step, epoch, first.means)
            if watcher.stop_requested():
                save()
                raise Interrupted
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
        save()
