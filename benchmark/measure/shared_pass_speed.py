"""What training several methods' heads in one pass costs, next to its parts and next to training each alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.stages.graph import run_stages
from benchmark.stages.stage import Stage
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.loop import Learner
from datasets.loading import Batch
from methods.placement import place_exits
from results.spec import Configured, Recipes, RunSpec, TrainSpec


@dataclass(frozen=True)
class SharedPassSpeed:
    """Seconds a batch, medians over rounds.

    Attributes:
        frozen: the frozen backbone's forward pass, as the shared training runs it.
        heads: method to its heads' forward, backward and update on tokens that are there.
        shared: all of them in one pass.
    """

    frozen: float
    heads: dict[str, float]
    shared: float

    @property
    def overhead(self) -> float:
        """The shared pass over the sum of its parts; 1 if sharing costs nothing."""
        return self.shared / (self.frozen + sum(self.heads.values()))

    @property
    def saved(self) -> float:
        """Training each method alone over training all in one pass."""
        return (len(self.heads) * self.frozen + sum(self.heads.values())) / self.shared


def measure_shared_pass(
    backbone: str, dataset: Configured, methods: list[str], recipes: Recipes, batches: int, device: torch.device
) -> SharedPassSpeed:
    """Time the parts and the whole in turns, batch by batch, so that what slows the machine slows both.

    Args:
        backbone: registered name, depth 12 or 24; its weights are random.
        dataset: whose train split the batches come from.
        methods: registered names, trained on the frozen backbone at the paper's exits.
        recipes: of which ``exits`` is used.
        batches: measured, after two that warm up.
        device: where.

    Raises:
        ValueError: a method has no early exits, or the backbone has another depth.
    """
    card = registry.card("backbone", backbone)
    exits = place_exits("paper", card.depth)
    stages: dict[str, Stage] = {}
    for name in methods:
        if "regime" not in {field.name for field in fields(registry.card("method", name).load())}:
            raise ValueError(f"--method: {name} has no early exits to train")
        method = Configured(name=name, set={"regime": "frozen"})
        train = TrainSpec(dataset=dataset, backbone=backbone, method=method, exits=exits, recipes=recipes, seed=0)
        (_, stages[name]) = run_stages(RunSpec(train=train, scheme="paper", policies=())).training
    train = stages[methods[0]].run.train
    inputs = read_inputs(train, None)
    frozen = build_backbone(train).to(device).eval().requires_grad_(False)
    whole = frozen_pass(frozen, list(stages.values()))
    # One set of learners for the parts and one for the whole, so that both do every step once.
    alone, together = (
        {name: exits_learner(stage, None, inputs, device) for name, stage in stages.items()} for _ in range(2)
    )
    times: dict[str, list[float]] = {name: [] for name in ("frozen", *methods, "shared")}
    for count, batch in enumerate(_batches(inputs, recipes, batches + 2)):
        on_device = batch.to(device)
        found = {"frozen": _timed(device, whole, on_device)}
        passed = found["frozen"][1]
        for name, learner in alone.items():
            found[name] = _timed(device, _step, learner, on_device, passed)
        found["shared"] = _timed(device, _shared_step, list(together.values()), batch, whole, device)
        if count >= 2:
            for name, (seconds, _) in found.items():
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return SharedPassSpeed(medians["frozen"], {name: medians[name] for name in methods}, medians["shared"])


def _batches(inputs: Inputs, recipes: Recipes, count: int) -> Any:
    epoch = 0
    while count > 0:
        for batch in inputs.training(recipes.exits, "bench", 0, epoch, 0):
            yield batch
            count -= 1
            if count == 0:
                return
        epoch += 1


def _step(learner: Learner, batch: Batch, passed: Any) -> None:
    learner.backward(batch, passed, 0, 1.0)
    learner.update()


def _shared_step(learners: list[Learner], batch: Batch, whole: Callable[[Batch], Any], device: torch.device) -> None:
    """What `benchmark.training.loop.fit` does with a batch."""
    part = batch.to(device)
    torch.manual_seed(seed_for("frozen", learners[0].seed, learners[0].step, 0))
    passed = whole(part)
    for learner in learners:
        learner.backward(part, passed, 0, 1.0)
    for learner in learners:
        learner.update()


def _timed(device: torch.device, work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun, result
