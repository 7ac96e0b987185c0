"""Measurement of the data loader's speed, and of the time that training steps wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.training.backbone import build_backbone, task_of
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.optimizer import make_optimizer
from datasets.loading import Batch
from results.spec import Recipe, TrainSpec

WARMUP_BATCHES = 2


@dataclass(frozen=True)
class LoaderSpeed:
    """The speed of a loader.

    Attributes:
        workers: number of processes that load batches.
        alone: images per second without training.
        training: images per second with a training step for each batch.
        waiting: share of the time that training steps wait for their batch.
    """

    workers: int
    alone: float
    training: float
    waiting: float


def measure_loaders(
    train: TrainSpec, data_dir: Path | None, workers: Iterable[int], device: torch.device, batches: int
) -> Iterator[LoaderSpeed]:
    """Measure the speed for each number of workers, with a fine-tuning step as the training step.

    Args:
        train: dataset, backbone and fine-tuning recipe.
        data_dir: the user's folder of datasets, if any.
        workers: the numbers of worker processes to measure.
        device: device of the training step.
        batches: number of timed batches.
    """
    for count in workers:
        inputs = read_inputs(train, data_dir, count, pin=device.type == "cuda")
        yield measure_loader(inputs, train.recipes.finetune, finetuning_step(train, device), batches)


def measure_loader(inputs: Inputs, recipe: Recipe, step: Callable[[Batch], None], batches: int) -> LoaderSpeed:
    """Measure the speed of one loader.

    Args:
        inputs: the data, with the number of workers to measure.
        recipe: batch size and augmentation.
        step: a training step, which returns when the device has finished.
        batches: number of timed batches after `WARMUP_BATCHES`.
    """
    alone, _ = _run(inputs, recipe, lambda batch: None, batches)
    training, waiting = _run(inputs, recipe, step, batches)
    return LoaderSpeed(inputs.workers.count, alone, training, waiting)


def _run(inputs: Inputs, recipe: Recipe, step: Callable[[Batch], None], batches: int) -> tuple[float, float]:
    """Images per second, and the share of time spent waiting for batches."""
    source = _endless(inputs, recipe)
    for _ in range(WARMUP_BATCHES):
        step(next(source))
    images, waited = 0, 0.0
    start = time.perf_counter()
    for _ in range(batches):
        wait_start = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - wait_start
        step(batch)
        images += len(batch.labels)
    elapsed = time.perf_counter() - start
    return images / elapsed, waited / elapsed


def _endless(inputs: Inputs, recipe: Recipe) -> Iterator[Batch]:
    """The batches of all epochs, without end."""
    epoch = 0
    while True:
        yield from inputs.training(recipe, "bench", 0, epoch, 0)
        epoch += 1


def finetuning_step(train: TrainSpec, device: torch.device) -> Callable[[Batch], None]:
    """A fine-tuning step of the run's backbone from its initial weights: forward, backward and update."""
    recipe = train.recipes.finetune
    backbone, task = build_backbone(train).to(device).train(), task_of(train)
    optimizer = make_optimizer(backbone, recipe)

    def step(batch: Batch) -> None:
        batch = batch.to(device)
        loss = task.cross_entropy(backbone(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device

    return step
