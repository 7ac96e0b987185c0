"""What the training loop costs beside a bare one over the same model, loader and optimizer."""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from benchmark.progress import Reporter
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import initial_backbone
from benchmark.training.finetune import finetune_learner
from benchmark.training.inputs import Inputs
from benchmark.training.loop import fit
from benchmark.training.optimizer import make_optimizer
from results.spec import RunSpec


@dataclass(frozen=True)
class Epoch:
    """One epoch of fine-tuning.

    Attributes:
        seconds: wall time.
        cpu_seconds: of the process.
        weights: SHA-256 of the trained weights.
    """

    seconds: float
    cpu_seconds: float
    weights: str


@dataclass(frozen=True)
class LoopSpeed:
    """The suite's loop and a bare one, an epoch of each in turn.

    Attributes:
        images: of an epoch.
        suite: epochs of `benchmark.training.loop`, with its checkpoint, progress and metrics.
        bare: epochs of the loop that anyone would write.
    """

    images: int
    suite: tuple[Epoch, ...]
    bare: tuple[Epoch, ...]

    @property
    def suite_rate(self) -> float:
        """Images per second, median."""
        return self.images / median(epoch.seconds for epoch in self.suite)

    @property
    def bare_rate(self) -> float:
        return self.images / median(epoch.seconds for epoch in self.bare)

    @property
    def ratios(self) -> list[float]:
        """Of each pair of epochs, the suite's images per second over the bare loop's: what sways a machine for longer than a
        few seconds sways both."""
        return [bare.seconds / suite.seconds for suite, bare in zip(self.suite, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def middle_half(self) -> tuple[float, float]:
        """Quartiles of the ratios."""
        low, _, high = quantiles(self.ratios, n=4, method="inclusive") if len(self.suite) > 1 else 3 * self.ratios
        return low, high

    @property
    def cpu_ratio(self) -> float:
        """The same from the process's CPU time, which other work on the machine sways less."""
        pairs = zip(self.suite, self.bare, strict=True)
        return median(bare.cpu_seconds / suite.cpu_seconds for suite, bare in pairs)

    @property
    def same_work(self) -> bool:
        """Whether all epochs ended with the same weights: both loops did the same arithmetic."""
        return len({epoch.weights for epoch in (*self.suite, *self.bare)}) == 1


def measure_loop(run: RunSpec, inputs: Inputs, repeats: int, device: torch.device) -> LoopSpeed:
    """Train a run's backbone for one epoch with either loop, in turn, after one epoch of each that warms up.

    Args:
        run: its fine-tuning recipe is read: one epoch at a constant rate, so that both loops do the same.
        inputs: of the run.
        repeats: epochs of each loop.
        device: to train on.
    """
    recipe = run.train.recipes.finetune.model_copy(update={"epochs": 1, "schedule": "constant", "warmup": 0.0})
    recipes = run.train.recipes.model_copy(update={"finetune": recipe})
    run = run.model_copy(update={"train": run.train.model_copy(update={"recipes": recipes})})
    suite: list[Epoch] = []
    bare: list[Epoch] = []
    for i in range(repeats + 1):
        for loop, epochs in ((_suite, suite), (_bare, bare))[:: 1 if i % 2 else -1]:
            epochs.append(loop(run, inputs, device))
    return LoopSpeed(len(inputs.splits["train"]), tuple(suite[1:]), tuple(bare[1:]))


def _suite(run: RunSpec, inputs: Inputs, device: torch.device) -> Epoch:
    stage = run_stages(run).reference
    learner = finetune_learner(stage, inputs, None, device)
    recipe, seed = learner.recipe, run.train.seed
    with tempfile.TemporaryDirectory() as folder:
        reporter = Reporter(Console(file=io.StringIO()))
        begun, cpu = time.perf_counter(), time.process_time()
        with reporter.stage("fine-tuning", learner.total_steps, recipe.epochs):
            fit(
                [learner],
                lambda epoch, skip: inputs.training(recipe, "finetune", seed, epoch, skip),
                lambda batch: None,
                lambda learner: Path(folder) / learner.name / "checkpoint.pt",
                reporter,
                device,
            )
        return _ended(learner.module, begun, cpu)


def _bare(run: RunSpec, inputs: Inputs, device: torch.device) -> Epoch:
    """What a tutorial has: no checkpoint, no metrics, no seeds."""
    train, recipe = run.train, run.train.recipes.finetune
    backbone = initial_backbone(train, run_stages(run).reference.blocks, None, keep_classifier=False).to(device).train()
    optimizer = make_optimizer(backbone, recipe)
    begun, cpu = time.perf_counter(), time.process_time()
    for batch in inputs.training(recipe, "finetune", train.seed, 0, 0):
        images, labels = batch.images.to(device), batch.labels.to(device)
        loss = F.cross_entropy(backbone(images), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(backbone.parameters(), recipe.clip_grad)
        optimizer.step()
    return _ended(backbone, begun, cpu)


def _ended(module: nn.Module, begun: float, cpu: float) -> Epoch:
    """The clocks stop when the device is done."""
    next(module.parameters()).sum().item()
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return Epoch(seconds, cpu_seconds, digest.hexdigest())
