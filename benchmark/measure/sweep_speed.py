"""How fast sweeps over stored scores are, beside running the model once per setting."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmark import registry
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import sweep
from benchmark.hardware import peak_memory_bytes
from methods.model import ExitHeads, MultiExitModel
from methods.policies import get_policy

POLICIES = ("confidence", "margin", "entropy", "patience", "pcee", "sdn")
MODEL_IMAGES = 500


@dataclass(frozen=True)
class SweepSpeed:
    """Seconds by policy; peak memory beyond the scores; what the model would take.

    Attributes:
        seconds: by policy, all settings.
        settings: by policy; patience has only as many as there are exits.
        extra_bytes: growth of the process's peak memory during the sweeps.
        model_seconds: of one pass of the model over as many images, extrapolated from `MODEL_IMAGES` images.
    """

    seconds: dict[str, float]
    settings: dict[str, int]
    extra_bytes: int
    model_seconds: float

    @property
    def ratio(self) -> float:
        """Time of running the model once per setting over the time of the sweeps."""
        return self.model_seconds * sum(self.settings.values()) / sum(self.seconds.values())


def measure_sweeps(exits: int, samples: int, classes: int, settings: int) -> SweepSpeed:
    """Time the sweeps of `POLICIES` on random scores, warmed up on a few samples."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(exits, samples, classes, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    scores = ExitScores(logits, labels, torch.arange(samples))
    few = ExitScores(logits[:, :200], labels[:200], torch.arange(200))
    grids = {name: _grid(name, few, settings) for name in POLICIES}
    for name in POLICIES:
        sweep(get_policy(name), few, grids[name])
    before = peak_memory_bytes()
    seconds = {}
    for name in POLICIES:
        begun = time.perf_counter()
        sweep(get_policy(name), scores, grids[name])
        seconds[name] = time.perf_counter() - begun
    extra = peak_memory_bytes() - before
    return SweepSpeed(seconds, {name: len(grid) for name, grid in grids.items()}, extra, _model_seconds() * samples)


def _grid(name: str, scores: ExitScores, settings: int) -> np.ndarray:
    grid = get_policy(name).default_grid(scores.logits)
    return (
        grid if name == "patience" else np.interp(np.linspace(0, len(grid) - 1, settings), np.arange(len(grid)), grid)
    )


def _model_seconds() -> float:
    """Of one image in the smallest registered model with LGViT's heads."""
    card = registry.card("backbone", "vit_nano_patch4_28")
    blocks = tuple(range(4, 12))
    choices = registry.configured("method", "lgvit", {}).heads(blocks, card)
    heads = [
        registry.card("head", choice.name).load()(card.dims[0], 10, card.grids[0], card.class_tokens, **choice.options)
        for choice in choices
    ]
    model = MultiExitModel(card.load()(card.architecture, 10), ExitHeads(blocks, heads)).eval()
    images = torch.randn(MODEL_IMAGES, card.channels, card.image_size, card.image_size)
    with torch.no_grad():
        model(images[:50])
        begun = time.perf_counter()
        model(images)
    return (time.perf_counter() - begun) / MODEL_IMAGES
