"""Two processes that share a training through gloo on the CPU have the losses, gradients and scores of one process."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.errors import Interrupted, RankError, TrainingDivergedError
from benchmark.evaluation.scores import score_split, send_scores
from benchmark.execution.building import Builder
from benchmark.execution.launch import launch
from benchmark.execution.process_group import process_group
from benchmark.execution.rank_worker import follow
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.stages.plan import make_plan
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.heads import build_heads
from benchmark.training.inputs import read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Learner, fit
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
        train: number of images; an epoch ends with a smaller batch.
        recipe: fields that differ from the default.
    """

    methods: list[Any]
    train: int = 51
    recipe: dict[str, Any] = field(default_factory=dict)

    def learners(self, folder: Path, ranks: Ranks = ALONE) -> tuple[list[Learner], Any, Callable[[Any], Any]]:
        """The learners, the inputs and the frozen pass."""
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
    """Record the gradients that the optimizer gets in every step."""

    def keep(*_: Any) -> None:
        parameters = learner.module.named_parameters()
        steps.append({name: p.grad.clone() for name, p in parameters if p.grad is not None})

    learner.optimizer.register_step_pre_hook(keep)


def score(folder: Path, ranks: Ranks = ALONE) -> Any:
    """Of 45 images in three batches."""
    folder.mkdir(parents=True, exist_ok=True)
    _, inputs, _ = CASES["a last batch of one image"].learners(folder, ranks)
    run = next(iter(load_grid(folder / f"grid-{ranks.rank}.yaml").runs)).train
    model = MultiExitModel(build_backbone(run), build_heads(run)).eval()
    whole, loading.SCORING_BATCH = loading.SCORING_BATCH, 20
    try:
        return (score_split if ranks.leads else send_scores)(model, inputs, "test", CPU, ranks)
    finally:
        loading.SCORING_BATCH = whole


def refused(error: type[Exception], call: Callable[[], Any]) -> str:
    try:
        call()
    except error as found:
        return str(found)
    return "nothing was refused"


def work(folder: Path) -> None:
    """Runs in each of two processes: trains, scores, and writes the results into the folder."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    with process_group(CPU) as context:
        ranks = context.ranks
        for name, case in [*CASES.items(), ("norms", WITH_NORMS)]:
            results[name] = train(case, folder / name, ranks)
        results["scores"] = score(folder / "scores", ranks)
        results["stopped"] = refused(Interrupted, lambda: train(SHARED, folder / "stopped", ranks, stop=1))
        results["resumed"] = train(SHARED, folder / "stopped", ranks)
        results["ruined"] = refused(TrainingDivergedError, lambda: train(SHARED, folder / "ruined", ranks, ruin=1))
        refused(Interrupted, lambda: train(SHARED, folder / "half", ranks, stop=1))
        if ranks.leads:
            context.dismiss()
        else:
            assert not list(context.calls())
    torch.save(results, folder / f"rank-{ranks.rank}.pt")


def silence(folder: Path) -> None:
    """Runs in each of two processes, of which one does not respond for a long time."""
    with process_group(CPU, timedelta(seconds=1)) as context:
        if context.ranks.rank == 1:
            time.sleep(4)
            return
        start = time.monotonic()
        sentence = refused(RankError, lambda: context.ranks.all_reduce([torch.zeros(3)]))
        torch.save((sentence, time.monotonic() - start), folder / "silence.pt")


def lose(folder: Path) -> None:
    """Runs in each of two processes, of which one lacks a file that both need."""
    SHARED.learners(folder, Ranks(int(os.environ["RANK"]), SIZE))
    plan = make_plan(load_grid(folder / f"grid-{os.environ['RANK']}.yaml"), Store(folder / "nothing"))
    with process_group(CPU) as context:
        if context.ranks.rank == 1:
            follow(context, Builder(Store(folder / "nothing"), CPU, None, 0), plan)
        with context.calling([plan.runs[0].scores]) as ranks:
            ranks.receive([torch.zeros(3)], 1)


def end(how: str) -> None:
    """Runs in each of two processes, of which one dies while the other waits for it."""
    with process_group(CPU) as context:
        if context.ranks.rank == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("no more")
        with context.calling([]) as ranks:
            ranks.receive([torch.zeros(3)], 1)


def launch_two(task: Callable[..., None], argument: Any) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    launch(task, argument, processes=SIZE, session=task.__name__)


Found = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The folder of the two processes, and the results of each."""
    folder = tmp_path_factory.mktemp("ranks")
    launch_two(work, folder)
    return folder, [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(SIZE)]


def largest(tensors: dict[str, torch.Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors.values())


def assert_same(first: Watched, second: Watched) -> None:
    """Both results have the same bits."""
    assert first.states.keys() == second.states.keys()
    for name, state in first.states.items():
        assert all(torch.equal(tensor, second.states[name][key]) for key, tensor in state.items()), name
    assert first.histories == second.histories


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_and_losses_of_one(name: str, two: Found, tmp_path: Path) -> None:
    alone, shared = train(CASES[name], tmp_path), two[1][0][name]
    for learner, steps in alone.gradients.items():
        assert len(steps) == len(shared.gradients[learner]) == 3
        for step, shared_step in zip(steps, shared.gradients[learner], strict=True):
            assert step.keys() == shared_step.keys()  # parameters without gradients have none in both
            assert largest({key: step[key] - shared_step[key] for key in step}) < 1e-5 * max(largest(step), 1e-3)
    for learner, history in alone.histories.items():
        for step, shared_step in zip(history, shared.histories[learner], strict=True):
            assert step == pytest.approx(shared_step, rel=1e-5)


@pytest.mark.parametrize("name", [*CASES, "norms"])
def test_both_processes_end_with_the_same_bits(name: str, two: Found) -> None:
    assert_same(two[1][0][name], two[1][1][name])


def test_a_batchnorm_normalises_per_process_and_averages_running_statistics(two: Found, tmp_path: Path) -> None:
    """The rule in docs/multi-gpu.md, by hand: statistics of each share alone; what is kept is the mean over the images."""
    (first,), inputs, _ = WITH_NORMS.learners(tmp_path)
    (second,), _, _ = WITH_NORMS.learners(tmp_path)
    recipe, both = first.recipe, [Ranks(0, 2), Ranks(1, 2)]
    loaders = [inputs.training(recipe, "exits", 0, 0, 0, ranks) for ranks in both]
    for batches in zip(*loaders, strict=True):
        shares = [0.0, 0.0]
        for learner, batch, ranks in zip((first, second), batches, both, strict=True):
            for number, (part, piece) in enumerate(batch.parts(ranks.share(recipe))):
                learner.backward(part, None, number, piece.weight / batch.size, piece, ranks.seed_parts)
                shares[ranks.rank] += piece.weight / batch.size
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
    (state,) = two[1][0]["norms"].states.values()
    by_hand = first.module.state_dict()
    assert any("running_mean" in key for key in by_hand)
    for key, tensor in by_hand.items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-5, atol=1e-6)


def test_on_a_gpu_sync_batchnorms_keep_the_parameters() -> None:
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
    assert all(torch.equal(one, other) for one, other in zip(alone.tensors, shared.tensors, strict=True))
    assert len(shared.sample_id.unique()) == 45


def test_stopped_and_resumed_together_changes_no_bit(two: Found) -> None:
    for result in two[1]:
        assert result["stopped"] == ""  # Interrupted, on both
        assert_same(result["resumed"], result[next(iter(CASES))])


def test_a_checkpoint_of_another_number_of_processes_is_refused(two: Found) -> None:
    with pytest.raises(StoreError, match=r"written with --gpus 2, and this is 1.*Use --gpus 2"):
        train(SHARED, two[0] / "half")


def test_both_ranks_see_a_nan_loss(two: Found) -> None:
    first, second = (result["ruined"] for result in two[1])
    assert first == second
    assert "the loss is nan in epoch 1" in first


def test_a_rank_that_does_not_respond_ends_the_training(tmp_path: Path) -> None:
    launch_two(silence, tmp_path)
    message, seconds = torch.load(tmp_path / "silence.pt", weights_only=False)
    assert message
    assert seconds < 3.5


def test_an_error_in_one_rank_is_raised_with_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=re.escape(str(tmp_path / "nothing"))):
        launch_two(lose, tmp_path)


@pytest.mark.parametrize(
    ("how", "failure", "sentence"),
    [
        ("killed", "killed", "rank 1 of 2 was killed (SIGKILL)"),
        ("memory", "oom", "rank 1 of 2 failed: MemoryError: no more"),
    ],
)
def test_the_rank_that_failed_first_is_named_with_its_cause(how: str, failure: str, sentence: str) -> None:
    with pytest.raises(RankError, match=re.escape(sentence)) as error:
        launch_two(end, how)
    assert error.value.failure == failure
