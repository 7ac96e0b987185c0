"""How fast batches are made, and how long a training step waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from benchmark.training.backbone import build_backbone
from benchmark.training.inputs import Inputs
from benchmark.training.optimizer import make_optimizer
from datasets.loading import Batch
from results.spec import Recipe, TrainSpec


@dataclass(frozen=True)
class LoaderSpeed:
    """One way of making batches, measured.

    Attributes:
        workers: processes that make them.
        alone: images a second when nothing else happens.
        training: images a second with the training step.
        waiting: share of the training's time that a step waits for its batch.
    """

    workers: int
    alone: float
    training: float
    waiting: float


def measure_loader(inputs: Inputs, recipe: Recipe, step: Callable[[Batch], None], batches: int) -> LoaderSpeed:
    """
    Args:
        inputs: with the workers to measure.
        recipe: batch size and augmentation.
        step: a whole training step, which returns when it is done.
        batches: measured, after two that warm up.
    """
    alone, _ = _run(inputs, recipe, lambda batch: None, batches)
    training, waiting = _run(inputs, recipe, step, batches)
    return LoaderSpeed(inputs.workers.count, alone, training, waiting)


def _run(inputs: Inputs, recipe: Recipe, step: Callable[[Batch], None], batches: int) -> tuple[float, float]:
    """Images a second, and the share of time spent waiting. Epochs follow each other until there were enough batches."""
    images, waited, count, epoch = 0, 0.0, 0, 0
    started = time.perf_counter()
    while True:
        source = iter(inputs.training(recipe, "bench", 0, epoch, 0))
        while True:
            begun = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                break
            got = time.perf_counter()
            step(batch)
            count += 1
            if count == 2:
                images, waited, started = 0, 0.0, time.perf_counter()
                continue
            images, waited = images + len(batch.labels), waited + got - begun
            if count >= batches + 2:
                elapsed = time.perf_counter() - started
                return images / elapsed, waited / elapsed
        epoch += 1


def finetuning_step(train: TrainSpec, device: torch.device) -> Callable[[Batch], None]:
    """A fine-tuning step of the run's backbone from its initial weights, forward, backward and update."""
    recipe = train.recipes.finetune
    backbone = build_backbone(train).to(device).train()
    optimizer = make_optimizer(backbone, recipe)

    def step(batch: Batch) -> None:
        batch = batch.to(device)
        loss = F.cross_entropy(backbone(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits until the device is done

    return step
