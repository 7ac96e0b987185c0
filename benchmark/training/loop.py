"""The training loop. One pass over the data feeds one learner or several; a training can stop at any step and resume.

A step depends only on the weights, the state of the optimizer and the number of the step: torch's generator is seeded for every
step, order and augmentation follow from the number of the epoch, and the learning rate from the number of the step. A resumed
training therefore gives the bits of an uninterrupted one, and learners trained together give the bits that each gives alone.
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

from benchmark.errors import Interrupted, TrainingDivergedError, blame
from benchmark.seeds import seed_for
from benchmark.training.checkpoints import read_checkpoint, write_checkpoint
from benchmark.training.optimizer import learning_rate, make_optimizer
from benchmark.training.precision import loss_scaler, mixed
from benchmark.training.ranks import ALONE, Ranks, running_statistics, synchronise_norms
from datasets.loading import Batch
from datasets.shares import Piece
from results.spec import Recipe
from results.store.folder import StoreError

CHECKPOINT_SECONDS = 60.0
GO_ON, STOP, DIVERGED = range(3)


class Watcher(Protocol):
    """Receives the progress of a training, and decides when it stops."""

    def resumed(self, step: int, epoch: int) -> None: ...

    def damaged(self, sentence: str) -> None: ...

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None: ...

    def stop_requested(self) -> bool: ...


@dataclass(frozen=True)
class Position:
    """The optimizer steps and forward passes that a training has done; they differ where gradients are accumulated."""

    step: int
    forward: int


@dataclass
class Learner:
    """A module, its loss and its optimizer.

    Attributes:
        name: of the stage that is trained.
        module: the parameters that are trained and stored.
        losses: maps (batch, frozen pass, position) to named scalars; ``total`` is minimised, the others are logged.
        recipe: of the training.
        seed: of the random choices inside a step (dropout, drop-path).
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
    images: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    passed: list[tuple[dict[str, Tensor], Piece]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.module, self.recipe)
        self.scaler = loss_scaler(self.recipe, self.module)

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def total_steps(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    def backward(
        self,
        part: Batch,
        frozen: Any,
        number: int,
        share: float,
        piece: Piece | None = None,
        rank: tuple[int, ...] = (),
    ) -> None:
        """Forward and backward pass of one part of a step.

        Args:
            part: the images and labels.
            frozen: what was computed once for all learners.
            number: of the part in the step, from 0.
            share: the share of the step's images that the part has.
            piece: this rank's piece of the part, where ranks share it.
            rank: what the rank adds to the seed.
        """
        torch.manual_seed(seed_for("step", self.seed, self.step, number, *rank))
        if number == 0:
            self.optimizer.zero_grad()
            self.passed = []
        with mixed(self.recipe, self.device):
            terms = self.losses(part, frozen, Position(self.step, self.step * self.recipe.accumulate + number))
        self.scaler.scale(share * terms["total"]).backward()
        piece = piece or Piece(0, len(part.labels), len(part.labels), len(part.labels))
        self.passed.append(({key: value.detach() for key, value in terms.items()}, piece))

    def summands(self, whole: int) -> list[Tensor]:
        """The tensors that are summed over the ranks before `update`: gradients, losses, and running statistics of BatchNorms.

        Each rank contributes its share of a batch of ``whole`` images, so the statistics become a mean over the ranks.
        """
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        share = sum(piece.weight for _, piece in self.passed) / whole
        statistics = [statistic.mul_(share) for statistic in running_statistics(self.module)]
        self.passed = [
            (
                {key: value.float() * (piece.weight / piece.pass_size) for key, value in terms.items()},
                piece.with_full_weight(),
            )
            for terms, piece in self.passed
        ]
        return [*gradients, *statistics, *(value for terms, _ in self.passed for value in terms.values())]

    def update(self) -> None:
        """The step of the optimizer, after the backward passes of all parts."""
        for terms, piece in self.passed:
            for key, value in terms.items():  # the mean of a term is over the steps that have it
                so_far = self.sums.get(key, torch.zeros((), dtype=torch.float64))
                self.sums[key] = so_far + value.double() * piece.weight
                self.images[key] = self.images.get(key, 0) + piece.weight
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.total_steps)
        self.scaler.unscale_(self.optimizer)
        if self.recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.step % self.steps_per_epoch == 0:
            self.history.append(self.means())
            self.sums, self.images = {}, {}

    def means(self) -> dict[str, float]:
        """Mean losses over the images of the current epoch; between two epochs, of the last one.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        if not self.sums:
            return self.history[-1] if self.history else {}
        means = {key: float(value) / self.images[key] for key, value in self.sums.items()}
        if not torch.isfinite(torch.tensor(means["total"])):
            epoch = (self.step - 1) // self.steps_per_epoch + 1
            message = f"{self.name}: the loss is {means['total']} in epoch {epoch}; a smaller lr may help"
            raise TrainingDivergedError(self.name, message)
        return means

    def check_finite(self) -> None:
        """
        Raises:
            TrainingDivergedError: the loss or a weight is not finite.
        """
        self.means()
        for name, tensor in self.module.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                since = f"after step {self.step}; a smaller lr may help" if self.step else "before the first step"
                message = f"{self.name}: the weights {name} are not finite {since}"
                raise TrainingDivergedError(self.name, message)

    def save(self, path: Path, ranks: Ranks) -> None:
        buffer = io.BytesIO()
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "sums": self.sums,
            "images": self.images,
            "history": self.history,
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
            "ranks": ranks.size,
        }
        torch.save(state, buffer)
        write_checkpoint(path, buffer.getvalue())

    def resume(self, path: Path, ranks: Ranks) -> str:
        """Resume from the latest undamaged checkpoint, if there is one, with its number of threads, on which the bits depend.

        Returns:
            a sentence about damaged checkpoints; empty if there are none.

        Raises:
            StoreError: the checkpoint does not fit this learner, or was written by another number of ranks, which would change
                the bits.
        """
        stored, damage = read_checkpoint(path) if ranks.leads else (b"", "")
        content = ranks.broadcast_bytes(stored)
        if not content:
            return damage
        try:
            state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except Exception as error:  # torch raises many kinds of errors for a file that does not fit
            raise StoreError(f"{path} cannot be resumed from ({error}); remove it to start this stage again") from error
        written_by = state["ranks"]
        if written_by != ranks.size:
            raise StoreError(
                f"{path} was written with --gpus {written_by}, and this is {ranks.size}: the bits depend on it. Use --gpus "
                f"{written_by}, or remove the file to start this stage again"
            )
        self.step, self.history = state["step"], state["history"]
        self.sums, self.images = state["sums"], state["images"]
        self.seconds = state["seconds"]
        torch.set_num_threads(state["threads"])
        return damage


def fit(
    learners: Sequence[Learner],
    batches: Callable[[int, int], Iterable[Batch]],
    frozen: Callable[[Batch], Any],
    checkpoint: Callable[[Learner], Path],
    watcher: Watcher,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> None:
    """Train every learner to the end of its recipe.

    Args:
        learners: with the same epochs, batches and precision.
        batches: maps (epoch, number of batches to skip) to this rank's share of the rest of that epoch.
        frozen: computes what all learners share, once per batch and without gradients.
        checkpoint: path of a learner's checkpoint; only rank 0 reads and writes it.
        watcher: receives every step and decides when to stop; only rank 0 uses it.
        device: of the modules.
        ranks: the processes that train together; each calls this function with the same learners.

    Raises:
        Interrupted: the watcher stopped the training; the checkpoint of every learner is written.
        TrainingDivergedError: a loss is not a number.
        RankError: another rank failed.
    """
    first = learners[0]
    for learner in learners:
        synchronise_norms(learner.module, ranks)
        ranks.broadcast_module(learner.module)
        try:
            damage = learner.resume(checkpoint(learner), ranks)
        except Exception as error:
            blame(error, learner.name)
            raise
        if damage:
            watcher.damaged(damage)
    share = ranks.share(first.recipe)
    step = min(learner.step for learner in learners)
    if step:
        watcher.resumed(step, step // first.steps_per_epoch)
    saved = started = time.monotonic()

    def save() -> None:
        nonlocal saved, started
        now = time.monotonic()
        for learner in learners:
            learner.check_finite()  # a diverged learner is not saved
            learner.seconds += now - started
            learner.save(checkpoint(learner), ranks)
        started = now
        saved = time.monotonic()  # after it: a save that takes longer than the interval must not follow every step

    def watch(step: int, epoch: int) -> int:
        """The decision of rank 0 after a step: continue or stop."""
        watcher.step(step, epoch, first.means)
        stop = watcher.stop_requested()
        if stop or time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
        return STOP if stop else GO_ON

    while step < first.total_steps:
        epoch, skip = divmod(step, first.steps_per_epoch)
        for batch in batches(epoch, skip):
            # After a kill between two saves one learner may be ahead of the others; it waits for them.
            learning = [learner for learner in learners if learner.step == step]
            for number, (part, piece) in enumerate(batch.parts(share)):
                part = part.to(device)
                torch.manual_seed(seed_for("frozen", first.seed, step, number, *ranks.seed_parts))
                with mixed(first.recipe, device):
                    shared = frozen(part)
                for learner in learning:
                    try:
                        learner.backward(part, shared, number, piece.weight / batch.size, piece, ranks.seed_parts)
                    except torch.OutOfMemoryError:  # of the pass as a whole, whichever learner asked last
                        raise
                    except Exception as error:
                        blame(error, learner.name)
                        raise
            if ranks.size > 1:
                ranks.all_reduce([summand for learner in learning for summand in learner.summands(batch.size)])
            for learner in learning:
                learner.update()
            step += 1
            try:
                decision = ranks.broadcast_number(watch(step, epoch) if ranks.leads else GO_ON)
            except TrainingDivergedError:
                ranks.broadcast_number(DIVERGED)
                raise
            if decision == DIVERGED:
                for learner in learners:
                    learner.check_finite()  # the diverged learner raises here as on rank 0
            if decision == STOP:
                raise Interrupted
        for learner in learners:
            learner.check_finite()
        if ranks.leads:
            save()
    for learner in learners:  # also where no step was taken: the weights that a training starts from may not be finite
        learner.check_finite()
