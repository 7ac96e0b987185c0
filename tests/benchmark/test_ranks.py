"""Two processes that share a training, by gloo on the CPU: the losses, gradients and scores of one process."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing as mp

from benchmark.errors import RankError
from benchmark.execute import distributed
from benchmark.execute.distributed import World, meeting
from benchmark.grid import load_grid
from benchmark.pipeline.build import build_backbone, build_heads
from benchmark.pipeline.exits import exits_learner, frozen_pass
from benchmark.pipeline.fit import Interrupted, Learner, TrainingDivergedError, fit
from benchmark.pipeline.inputs import read_inputs
from benchmark.pipeline.joint import joint_learner
from benchmark.pipeline.ranks import ALONE, Ranks
from benchmark.pipeline.score import answer_split, score_split
from benchmark.pipeline.stages import run_stages
from methods.model import MultiExitModel

CPU = torch.device("cpu")
SIZE = 2
GRID = """
name: ranks
backbones: [vit_nano_patch4_28]
datasets: [{name: fashion-mnist-mini, set: {train: TRAIN, val: 10, test: 1100}}]
methods: METHODS
exits: [[3, 7]]
recipes:
  finetune: {epochs: 1}
  joint: {epochs: 2, batch_size: 20, lr: 1.0e-3, RECIPE}
  exits: {epochs: 2, batch_size: 20, lr: 1.0e-3, RECIPE}
"""


@dataclass(frozen=True)
class Case:
    """Methods that train in one pass.

    Attributes:
        train: images; an epoch ends with a batch of what is left over.
        recipe: fields that differ from the default.
    """

    methods: str
    train: int = 51
    recipe: str = "accumulate: 1"

    def learners(self, folder: Path, ranks: Ranks = ALONE) -> tuple[list[Learner], Any, Callable[[Any], Any]]:
        """With the inputs and the frozen pass."""
        path = folder / f"grid-{ranks.rank}.yaml"
        text = GRID.replace("TRAIN", str(self.train)).replace("METHODS", self.methods).replace("RECIPE", self.recipe)
        path.write_text(text)
        stages = [run_stages(run).training[-1] for run in load_grid(path).runs]
        train = stages[0].run.train
        inputs = read_inputs(train, None, workers=0)
        backbone = build_backbone(train)
        if stages[0].kind == "joint":
            return [joint_learner(stages[0], backbone, inputs, CPU)], inputs, lambda batch: None
        learners = [exits_learner(stage, None, inputs, CPU) for stage in stages]
        return learners, inputs, frozen_pass(backbone.requires_grad_(False), stages)


# No head has a BatchNorm, and every method of a pass is compared.
CASES = {
    "a shared pass, accumulated, uneven": Case(
        "[homogeneous-global, homogeneous-attention, vanilla, {name: berxit, set: {regime: frozen}}]",
        recipe="accumulate: 2",
    ),
    "a last batch of one image": Case("[vanilla]", train=41),
    "in turns, mixed": Case(
        "[{name: berxit, set: {regime: alternating}}]", recipe="accumulate: 2, mixup: 0.8, cutmix: 1.0, clip_grad: 0.1"
    ),
    "backbone and heads": Case("[{name: homogeneous-global, set: {regime: joint}}]", recipe="accumulate: 3"),
}
WITH_NORMS = Case("[{name: lgvit, set: {regime: alternating, alternate_by: forward}}]", recipe="accumulate: 2")


@dataclass
class Watched:
    """Of a training: what the optimizers were given in every step, and how it ended."""

    gradients: dict[str, list[dict[str, torch.Tensor]]] = field(default_factory=dict)
    histories: dict[str, Any] = field(default_factory=dict)
    states: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


class Stopping:
    """A watcher that asks to stop after one step."""

    def __init__(self, step: int | None = None) -> None:
        self.at, self.now = step, -1

    def resumed(self, step: int, epoch: int) -> None: ...

    def step(self, step: int, epoch: int, metrics: Any) -> None:
        metrics()
        self.now = step

    def stop_requested(self) -> bool:
        return self.now == self.at


def train(case: Case, folder: Path, ranks: Ranks = ALONE, stop: int | None = None, ruin: int | None = None) -> Watched:
    """
    Args:
        stop: after this step.
        ruin: the learner whose weights become no numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learners, inputs, frozen = case.learners(folder, ranks)
    watched = Watched()
    for number, learner in enumerate(learners):
        note(learner, watched.gradients.setdefault(learner.name, []))
        if number == ruin:
            with torch.no_grad():
                next(learner.module.parameters()).fill_(float("nan"))
    recipe = learners[0].recipe
    fit(
        learners,
        lambda epoch, skip: inputs.training(recipe, "exits", 0, epoch, skip, ranks),
        frozen,
        lambda learner: folder / learner.name / "checkpoint.pt",
        Stopping(stop),
        CPU,
        ranks,
    )
    for learner in learners:
        watched.histories[learner.name] = learner.history
        watched.states[learner.name] = {name: x.clone() for name, x in learner.module.state_dict().items()}
    return watched


def note(learner: Learner, steps: list[dict[str, torch.Tensor]]) -> None:
    """Keep what every step's optimizer gets."""

    def keep(*_: Any) -> None:
        found = learner.module.named_parameters()
        steps.append({name: p.grad.clone() for name, p in found if p.grad is not None})

    learner.optimizer.register_step_pre_hook(keep)


def score(folder: Path, ranks: Ranks = ALONE) -> Any:
    """Of 1,100 images: three batches."""
    folder.mkdir(parents=True, exist_ok=True)
    _, inputs, _ = CASES["a last batch of one image"].learners(folder, ranks)
    run = next(iter(load_grid(folder / f"grid-{ranks.rank}.yaml").runs)).train
    model = MultiExitModel(build_backbone(run), build_heads(run)).eval()
    return (score_split if ranks.leads else answer_split)(model, inputs, "test", CPU, ranks)


def refused(error: type[Exception], call: Callable[[], Any]) -> str:
    try:
        call()
    except error as found:
        return str(found)
    return "nothing was refused"


def work(rank: int, folder: Path, port: int) -> None:
    """One of the two processes; what it found lies in its folder."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with meeting(World(rank, SIZE, rank, "127.0.0.1", port), CPU) as team:
        ranks = team.ranks
        for name, case in [*CASES.items(), ("norms", WITH_NORMS)]:
            found[name] = train(case, folder / name, ranks)
            print(rank, name, time.monotonic(), flush=True)
        print("t", time.monotonic(), flush=True)
        found["scores"] = score(folder, ranks)
        shared = CASES["a shared pass, accumulated, uneven"]
        found["stopped"] = refused(Interrupted, lambda: train(shared, folder / "stopped", ranks, stop=4))
        found["resumed"] = train(shared, folder / "stopped", ranks)
        found["ruined"] = refused(TrainingDivergedError, lambda: train(shared, folder / "ruined", ranks, ruin=1))
        refused(Interrupted, lambda: train(shared, folder / "half", ranks, stop=2))
    print("end", time.monotonic(), flush=True)
    torch.save(found, folder / f"rank-{rank}.pt")


def silence(rank: int, folder: Path, port: int) -> None:
    """Two processes, of which one does not answer for long."""
    distributed.ANSWER = timedelta(seconds=1)
    with meeting(World(rank, SIZE, rank, "127.0.0.1", port), CPU) as team:
        if rank == 1:
            time.sleep(4)
            os._exit(0)
        begun = time.monotonic()
        said = refused(RankError, lambda: team.ranks.add_up([torch.zeros(3)]))
        torch.save((said, time.monotonic() - begun), folder / "said.pt")
        os._exit(0)


def launch(task: Callable[..., None], folder: Path) -> None:
    """Two processes at one task."""
    multiprocessing.set_forkserver_preload([__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(task, (folder, port), SIZE, start_method="forkserver")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    launch(work, folder)
    return folder, [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(SIZE)]


def largest(tensors: dict[str, torch.Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors.values())


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_and_losses_of_one(
    name: str, two: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    _, found = two
    alone, shared = train(CASES[name], tmp_path), found[0][name]
    for learner, steps in alone.gradients.items():
        assert len(steps) == len(shared.gradients[learner]) > 3
        for mine, theirs in zip(steps, shared.gradients[learner], strict=True):
            assert mine.keys() == theirs.keys()  # who rests in a step rests everywhere
            error = largest({key: mine[key] - theirs[key] for key in mine}) / largest(mine)
            print(learner, error)
