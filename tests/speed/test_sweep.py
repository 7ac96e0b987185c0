"""The speed of sweeps over stored scores, compared with one forward pass of the smallest model for each threshold."""

from __future__ import annotations

import time

import numpy as np
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark import registry
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import decide
from benchmark.measure.dynamic_speed import random_model
from methods.policies import get_policy

POLICIES = ("confidence", "margin", "entropy", "patience", "pcee", "sdn")
EXITS, SAMPLES, CLASSES, THRESHOLDS = 9, 10_000, 100, 200
IMAGES = 500
LEAST_RATIO = 100


def test_sweeps_are_much_faster_than_running_the_model_for_each_threshold(benchmark: BenchmarkFixture) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(EXITS, SAMPLES, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    scores = ExitScores(logits, labels, torch.arange(SAMPLES))
    grids = {name: thresholds(name, scores) for name in POLICIES}

    def sweep_all() -> None:
        for name, grid in grids.items():
            decide(get_policy(name), scores, grid).sweep()

    benchmark.pedantic(sweep_all, rounds=3, iterations=1, warmup_rounds=1)
    passes = sum(map(len, grids.values()))
    ratio = SAMPLES * model_seconds() * passes / benchmark.stats.stats.median
    benchmark.extra_info["ratio"] = ratio
    assert ratio > LEAST_RATIO


def thresholds(name: str, scores: ExitScores) -> np.ndarray:
    """This number of thresholds over the range of the policy's own grid; patience counts exits and has few."""
    grid = get_policy(name).default_grid(scores.logits[:, :200])
    if name == "patience":
        return grid
    return np.interp(np.linspace(0, len(grid) - 1, THRESHOLDS), np.arange(len(grid)), grid)


def model_seconds() -> float:
    """Seconds that one image takes in the smallest registered ViT with LGViT's heads."""
    card = registry.card("backbone", "vit_nano_patch4_28")
    model, _ = random_model("lgvit", card)
    images = torch.randn(IMAGES, card.channels, card.image_size, card.image_size)
    with torch.no_grad():
        model(images[:50])
        begun = time.perf_counter()
        model(images)
    return (time.perf_counter() - begun) / IMAGES
