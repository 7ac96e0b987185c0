"""Training loops for tests: the runs of a small grid on one frozen backbone of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.inputs import read_inputs
from benchmark.training.loop import Learner, Watcher, fit
from benchmark.training.reduced import reduced
from tests.grids import bundled, tiny_grid, write_grid

CPU = torch.device("cpu")
STRONG_AUGMENTATION = {
    "augment": "crop-flip",
    "rand_augment": "rand-m9-mstd0.5-inc1",
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "accumulate": 2,
}


class StopAt:
    """A watcher that asks to stop after one step."""

    def __init__(self, step: int | None = None) -> None:
        self.stop_step = step
        self.last_step = -1
        self.damages: list[str] = []

    def resumed(self, step: int, epoch: int) -> None: ...

    def damaged(self, sentence: str) -> None:
        self.damages.append(sentence)

    def step(self, step: int, epoch: int, metrics: Any) -> None:
        metrics()
        self.last_step = step

    def stop_requested(self) -> bool:
        return self.last_step == self.stop_step


def loop_grid(**changes: Any) -> dict[str, Any]:
    """Five methods that share a pass, each at two learning rates; six steps each, three an epoch."""
    frozen = {"set": {"regime": "frozen"}}
    grid = {
        "datasets": [bundled(train=50)],
        "methods": [
            "lgvit",
            "vanilla",
            "homogeneous-global",
            {"name": "pabee", **frozen},
            {"name": "berxit", **frozen},
        ],
        "learning_rates": [0.5, 1],
    }
    return tiny_grid(**(grid | changes))


class Loop:
    """The runs of `loop_grid` with these changes."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        grid = write_grid(folder / "grid.yaml", **loop_grid(**changes))
        self.stages = [run_stages(run) for run in load_grid(grid).runs]
        self.train = self.stages[0].spec.train
        self.inputs = read_inputs(self.train, None, workers=0)
        backbone = reduced(build_backbone(self.train), self.stages[0].training[-1].reduction)
        self.backbone = backbone.eval().requires_grad_(False)

    def learners(self, *methods: int) -> list[Learner]:
        return [exits_learner(self.stages[i].training[-1], None, self.inputs, CPU) for i in methods]

    def fit(
        self, learners: list[Learner], folder: Path, stop: int | None = None, watcher: Watcher | None = None
    ) -> list[dict[str, torch.Tensor]]:
        run_frozen = frozen_pass(self.backbone, [stages.training[-1] for stages in self.stages])
        recipe = self.train.recipes.exits
        fit(
            learners,
            lambda epoch, skip: self.inputs.training(recipe, "exits", 0, epoch, skip),
            run_frozen,
            lambda learner: folder / learner.name / "checkpoint.pt",
            watcher or StopAt(stop),
            CPU,
        )
        return [state(learner) for learner in learners]


def state(learner: Learner) -> dict[str, torch.Tensor]:
    tensors = dict(learner.module.state_dict())
    for i, moments in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
