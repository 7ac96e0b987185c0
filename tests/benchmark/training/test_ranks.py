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
from torch import nn

from benchmark.errors import RankError
from benchmark.evaluation.scores import answer_split, score_split
from benchmark.execution import distributed
from benchmark.execution.building import Builder
from benchmark.execution.distributed import World, meeting
from benchmark.execution.follower import follow
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.heads import build_heads
from benchmark.training.inputs import read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Interrupted, Learner, TrainingDivergedError, fit
from benchmark.training.ranks import ALONE, Ranks, running_statistics, synchronise_norms
from datasets import loading
from methods.model import MultiExitModel
from results.store.folder import Store, StoreError
from tests.benchmark.training.loops import StopAt
from tests.grids import bundled, write_grid

CPU = torch.device("cpu")
SIZE = 2


@dataclass(frozen=True)
class Case:
    """Methods that train in one pass.

    Attributes:
        train: images; an epoch ends with a batch of what is left over.
        recipe: fields that differ from the default.
    """

    methods: list[Any]
    train: int = 51
    recipe: dict[str, Any] = field(default_factory=dict)

    def learners(self, folder: Path, ranks: Ranks = ALONE) -> tuple[list[Learner], Any, Callable[[Any], Any]]:
        """With the inputs and the frozen pass."""
        recipe = {"epochs": 1, "batch_size": 20, "lr": 1e-3, **self.recipe}
        grid = write_grid(
            folder / f"grid-{ranks.rank}.yaml",
            datasets=[bundled(self.train, 10, 45)],
            methods=self.methods,
            recipes={"finetune": {"epochs": 1, "batch_size": 100}, "joint": recipe, "exits": recipe},
        )
        stages = [run_stages(run).training[-1] for run in load_grid(grid).runs]
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
        ["homogeneous-global", "vanilla", {"name": "berxit", "set": {"regime": "frozen"}}], recipe={"accumulate": 2}
    ),
    "a last batch of one image": Case(["vanilla"], train=41),
    "in turns, mixed": Case(
        [{"name": "berxit", "set": {"regime": "alternating", "equal_epochs": False}}],
        recipe={"accumulate": 2, "mixup": 0.8, "cutmix": 1.0, "clip_grad": 0.1},
    ),
    "backbone and heads": Case(
        [{"name": "homogeneous-global", "set": {"regime": "joint", "equal_epochs": False}}], recipe={"accumulate": 3}
    ),
}
SHARED = CASES["a shared pass, accumulated, uneven"]
WITH_NORMS = Case(
    [{"name": "lgvit", "set": {"regime": "alternating", "alternate_by": "forward", "equal_epochs": False}}],
    recipe={"accumulate": 2},
)


@dataclass
class Watched:
    """Of a training: what the optimizers were given in every step, and how it ended."""

    gradients: dict[str, list[dict[str, torch.Tensor]]] = field(default_factory=dict)
    histories: dict[str, Any] = field(default_factory=dict)
    states: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


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
        StopAt(stop),
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
    """Of 45 images in three batches."""
    folder.mkdir(parents=True, exist_ok=True)
    _, inputs, _ = CASES["a last batch of one image"].learners(folder, ranks)
    run = next(iter(load_grid(folder / f"grid-{ranks.rank}.yaml").runs)).train
    model = MultiExitModel(build_backbone(run), build_heads(run)).eval()
    whole, loading.SCORING_BATCH = loading.SCORING_BATCH, 20
    try:
        return (score_split if ranks.leads else answer_split)(model, inputs, "test", CPU, ranks)
    finally:
        loading.SCORING_BATCH = whole


def refused(error: type[Exception], call: Callable[[], Any]) -> str:
    try:
        call()
    except error as found:
        return str(found)
    return "nothing was refused"


def work(rank: int, folder: Path, port: int) -> None:
    """One of the two processes; what it found lies in the folder."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with meeting(World(rank, SIZE, rank, "127.0.0.1", port), CPU) as team:
        ranks = team.ranks
        for name, case in [*CASES.items(), ("norms", WITH_NORMS)]:
            found[name] = train(case, folder / name, ranks)
        found["scores"] = score(folder / "scores", ranks)
        found["stopped"] = refused(Interrupted, lambda: train(SHARED, folder / "stopped", ranks, stop=1))
        found["resumed"] = train(SHARED, folder / "stopped", ranks)
        found["ruined"] = refused(TrainingDivergedError, lambda: train(SHARED, folder / "ruined", ranks, ruin=1))
        refused(Interrupted, lambda: train(SHARED, folder / "half", ranks, stop=1))
        if not ranks.leads:
            assert not list(team.orders())
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


def fail(rank: int, folder: Path, port: int) -> None:
    """Two processes, of which one lacks what the first calls it for."""
    with meeting(World(rank, SIZE, rank, "127.0.0.1", port), CPU) as team:
        if rank == 1:
            with pytest.raises(StoreError):
                follow(team, Builder(Store(folder / "nothing"), CPU, None, 0))
            os._exit(0)
        SHARED.learners(folder)
        scores = run_stages(load_grid(folder / "grid-0.yaml").runs[0]).scores

        def call() -> None:
            with team.together("scores", [scores]) as ranks:
                ranks.receive([torch.zeros(3)], 1)

        (folder / "said.txt").write_text(refused(RankError, call))
        os._exit(0)


def launch(task: Callable[..., None], folder: Path) -> None:
    """Two processes at one task."""
    multiprocessing.set_forkserver_preload([__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(task, (folder, port), SIZE, start_method="forkserver")


Found = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The folder of the two processes, and what each of them found."""
    folder = tmp_path_factory.mktemp("ranks")
    launch(work, folder)
    return folder, [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(SIZE)]


def largest(tensors: dict[str, torch.Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors.values())


def assert_same(first: Watched, second: Watched) -> None:
    """The same bits in the end."""
    assert first.states.keys() == second.states.keys()
    for name, state in first.states.items():
        assert all(torch.equal(tensor, second.states[name][key]) for key, tensor in state.items()), name
    assert first.histories == second.histories


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_and_losses_of_one(name: str, two: Found, tmp_path: Path) -> None:
    alone, shared = train(CASES[name], tmp_path), two[1][0][name]
    for learner, steps in alone.gradients.items():
        assert len(steps) == len(shared.gradients[learner]) == 3
        for mine, theirs in zip(steps, shared.gradients[learner], strict=True):
            assert mine.keys() == theirs.keys()  # what rests in a step rests everywhere
            assert largest({key: mine[key] - theirs[key] for key in mine}) < 1e-5 * max(largest(mine), 1e-3)
    for learner, history in alone.histories.items():
        for mine, theirs in zip(history, shared.histories[learner], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("name", [*CASES, "norms"])
def test_both_processes_end_with_the_same_bits(name: str, two: Found) -> None:
    assert_same(two[1][0][name], two[1][1][name])


def test_a_batchnorm_sees_its_own_process_and_remembers_the_mean(two: Found, tmp_path: Path) -> None:
    """The rule in docs/multi-gpu.md, by hand: statistics of each share alone; what is kept is the mean over the images."""
    (first,), inputs, _ = WITH_NORMS.learners(tmp_path)
    (second,), _, _ = WITH_NORMS.learners(tmp_path)
    recipe, both = first.recipe, [Ranks(0, 2), Ranks(1, 2)]
    loaders = [inputs.training(recipe, "exits", 0, 0, 0, ranks) for ranks in both]
    for batches in zip(*loaders, strict=True):
        shares = [0.0, 0.0]
        for learner, batch, ranks in zip((first, second), batches, both, strict=True):
            for number, (part, piece) in enumerate(batch.parts(ranks.share(recipe))):
                learner.backward(part, None, number, piece.images / batch.size, piece, ranks.named)
                shares[ranks.rank] += piece.images / batch.size
        for one, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
            if one.grad is not None and other.grad is not None:
                one.grad += other.grad
                other.grad.copy_(one.grad)
        for (name, one), other in zip(first.module.named_buffers(), second.module.buffers(), strict=True):
            if "running" in name:
                one.copy_(shares[0] * one + shares[1] * other)
                other.copy_(one)
        first.update()
        second.update()
    (found,) = two[1][0]["norms"].states.values()
    by_hand = first.module.state_dict()
    assert any("running_mean" in key for key in by_hand)
    for key, tensor in by_hand.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=1e-6)


def test_on_a_gpu_batchnorms_would_look_at_all_processes() -> None:
    """That torch's SyncBatchNorm takes their place, with their parameters; it runs on GPUs alone."""
    heads = nn.ModuleList([nn.BatchNorm2d(3)])
    weight = heads[0].weight
    synchronise_norms(heads, Ranks(0, 2))
    assert type(heads[0]) is nn.BatchNorm2d
    on_gpu = nn.SyncBatchNorm.convert_sync_batchnorm(heads)
    assert isinstance(on_gpu[0], nn.SyncBatchNorm)
    assert on_gpu[0].weight is weight
    assert not running_statistics(on_gpu)


def test_scores_are_the_bits_of_one_process(two: Found, tmp_path: Path) -> None:
    alone, shared = score(tmp_path), two[1][0]["scores"]
    assert two[1][1]["scores"] is None
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(alone.tensors, shared.tensors, strict=True))
    assert len(shared.sample_id.unique()) == 45


def test_stopped_and_resumed_together_changes_no_bit(two: Found) -> None:
    for found in two[1]:
        assert found["stopped"] == ""  # Interrupted, on both
        assert_same(found["resumed"], found[next(iter(CASES))])


def test_another_number_of_processes_cannot_go_on(two: Found) -> None:
    with pytest.raises(StoreError, match=r"written with --gpus 2, and this is 1.*Go on with --gpus 2"):
        train(SHARED, two[0] / "half")


def test_a_loss_that_is_no_number_is_known_to_both(two: Found) -> None:
    first, second = (found["ruined"] for found in two[1])
    assert first == second
    assert "the loss is nan in epoch 1" in first


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    launch(silence, tmp_path)
    said, seconds = torch.load(tmp_path / "said.pt", weights_only=False)
    assert "is gone or does not answer" in said
    assert seconds < 3.5


def test_what_failed_elsewhere_is_told_by_its_own_sentence(tmp_path: Path) -> None:
    launch(fail, tmp_path)
    said = (tmp_path / "said.txt").read_text()
    assert said.startswith("process 1 of the 2 that train together failed: StoreError: ")
    assert str(tmp_path / "nothing") in said
    assert said.endswith("; the same command goes on from the last checkpoint")
