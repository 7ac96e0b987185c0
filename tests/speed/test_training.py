"""The speed of the training loop: compared with a plain loop, and with the heads of many methods in one pass over the data.

The compared functions run in turn, so that other work on the machine slows both. Limits are on medians of ratios.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from benchmark.progress import Reporter
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.finetune import finetune_learner
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.loop import Learner, fit
from benchmark.training.optimizer import make_optimizer
from datasets.loading import Batch
from methods.placement import place_exits
from results.spec import DEFAULT_RECIPES, Configured, Recipe, Recipes, RunSpec, TrainSpec

BACKBONE = "vit_nano_patch4_28"
DEPTH = 12
DEVICE = torch.device("cpu")
LEAST_LOOP_RATIO = 0.95
MOST_SHARED_OVERHEAD = 1.1
METHODS = (
    "lgvit", "vanilla", "homogeneous-local", "homogeneous-global", "homogeneous-mlp", "vit-ee", "pabee", "berxit"
)  # fmt: skip


def spec(method: Configured, exits: tuple[int, ...], recipes: Recipes, images: int) -> RunSpec:
    dataset = Configured(name="fashion-mnist-mini", set={"train": images})
    train = TrainSpec(dataset=dataset, backbone=BACKBONE, method=method, exits=exits, recipes=recipes, seed=0)
    return RunSpec(train=train, scheme="paper" if exits else "none", policies=())


def one_epoch(kind: str, **changes: Any) -> Recipe:
    """One epoch at a constant learning rate."""
    return DEFAULT_RECIPES[kind].model_copy(update={"epochs": 1, "schedule": "constant", "warmup": 0.0, **changes})


def fit_seconds(
    learners: list[Learner], batches: Callable[[int, int], Iterable[Batch]], frozen: Callable[[Batch], Any]
) -> float:
    """Seconds that the training loop takes, with its checkpoints and its progress lines."""
    reporter = Reporter(Console(file=io.StringIO()))
    with tempfile.TemporaryDirectory() as folder, reporter.stage("training", learners[0].total_steps, 1):
        begun = time.perf_counter()
        fit(learners, batches, frozen, lambda learner: Path(folder) / f"{learner.name}.pt", reporter, DEVICE)
        return time.perf_counter() - begun


def bare_epoch(backbone: nn.Module, inputs: Inputs, recipe: Recipe) -> float:
    """Seconds of one epoch of a plain PyTorch loop without checkpoints, metrics and seeds."""
    optimizer = make_optimizer(backbone, recipe)
    begun = time.perf_counter()
    for batch in inputs.training(recipe, "finetune", 0, 0, 0):
        loss = F.cross_entropy(backbone(batch.images), batch.labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_grad is not None:
            nn.utils.clip_grad_norm_(backbone.parameters(), recipe.clip_grad)
        optimizer.step()
    return time.perf_counter() - begun


def test_the_training_loop_is_as_fast_as_a_plain_loop(benchmark: BenchmarkFixture) -> None:
    recipe = one_epoch("finetune")
    run = spec(Configured(name="static"), (), Recipes(finetune=recipe), images=2000)
    inputs = read_inputs(run.train, None, workers=0)
    ratios: list[float] = []

    def pair() -> None:
        bare = build_backbone(run.train).train()
        learner = finetune_learner(run_stages(run).reference, inputs, None, DEVICE)
        work = {
            "bare": lambda: bare_epoch(bare, inputs, recipe),
            "suite": lambda: fit_seconds(
                [learner], lambda epoch, skip: inputs.training(recipe, "finetune", 0, epoch, skip), lambda batch: None
            ),
        }
        order = ("bare", "suite") if len(ratios) % 2 else ("suite", "bare")
        seconds = {name: work[name]() for name in order}
        ratios.append(seconds["bare"] / seconds["suite"])
        trained = zip(bare.state_dict().values(), learner.module.state_dict().values(), strict=True)
        assert all(torch.equal(first, second) for first, second in trained)  # both losses are equal

    benchmark.pedantic(pair, rounds=20, iterations=1, warmup_rounds=1)
    benchmark.extra_info["ratio"] = ratio = median(ratios[1:])
    assert ratio >= LEAST_LOOP_RATIO


def test_heads_of_many_methods_in_one_pass_cost_little_more_than_the_sum_of_their_parts(
    benchmark: BenchmarkFixture,
) -> None:
    recipe = one_epoch("exits", batch_size=100)
    stages = []
    for name in METHODS:
        method = Configured(name=name, set={"regime": "frozen"})
        run = spec(method, place_exits("paper", DEPTH), Recipes(exits=recipe), images=3000)
        stages.append(run_stages(run).training[1])
    train = stages[0].run.train
    inputs = read_inputs(train, None, workers=0)
    frozen = frozen_pass(build_backbone(train).eval().requires_grad_(False), stages)
    overheads: list[float] = []
    savings: list[float] = []

    def batches(epoch: int, skip: int) -> Iterable[Batch]:
        return inputs.training(recipe, "exits", 0, epoch, skip)

    def compare() -> None:
        begun = time.perf_counter()
        for batch in batches(0, 0):
            frozen(batch)
        backbone = time.perf_counter() - begun
        alone = [fit_seconds([exits_learner(stage, None, inputs, DEVICE)], batches, frozen) for stage in stages]
        together = fit_seconds([exits_learner(stage, None, inputs, DEVICE) for stage in stages], batches, frozen)
        heads = [seconds - backbone for seconds in alone]
        overheads.append(together / (backbone + sum(heads)))
        savings.append(sum(alone) / together)

    benchmark.pedantic(compare, rounds=5, iterations=1, warmup_rounds=1)
    benchmark.extra_info["overhead"] = overhead = median(overheads[1:])
    benchmark.extra_info["times as fast as each method alone"] = median(savings[1:])
    assert overhead <= MOST_SHARED_OVERHEAD
