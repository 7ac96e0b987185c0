"""Two processes that share a training through gloo on the CPU have the losses, gradients and scores of one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.errors import RESUMES, Interrupted, TrainingDivergedError
from benchmark.evaluation.scores import choose_on_val, score_split, send_scores
from benchmark.execution.process_group import process_group
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.heads import build_heads
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Learner, fit
from benchmark.training.ranks import ALONE, Ranks, running_statistics, synchronise_norms
from benchmark.training.trained_model import trained_model
from datasets import loading
from datasets.api import DataError
from methods.model import MultiExitModel
from results.store.folder import StoreError
from tests.benchmark.training.loops import StopAt
from tests.benchmark.training.two_processes import SIZE, launch_two, message_of
from tests.grids import bundled, write_grid

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """Methods that train in one pass.

    Attributes:
        train: number of images; an epoch ends with a smaller batch.
        recipe: fields that differ from the default.
        detects: whether they find boxes.
    """

    methods: list[Any]
    train: int = 51
    recipe: dict[str, Any] = field(default_factory=dict)
    detects: bool = False

    def learners(self, folder: Path, ranks: Ranks = ALONE) -> tuple[list[Learner], Any, Callable[[Any], Any]]:
        """The learners, the inputs and the frozen pass."""
        recipe = {"epochs": 1, "batch_size": 20, "lr": 1e-3, **self.recipe}
        grid = write_grid(
            folder / f"grid-{ranks.rank}.yaml",
            backbones=["vit_nano_patch4_64" if self.detects else "vit_nano_patch4_28"],
            datasets=[bundled(self.train, 10, 45) | ({"name": "fashion-scenes-detection"} if self.detects else {})],
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


# Without BatchNorm, so that the results are those of one process.
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
    "heads that read the exit before": Case(["ztw", {"name": "boosted", "set": {"regime": "frozen"}}]),
    "boosted, with equilibrium in the backbone": Case(
        [{"name": "boosted", "set": {"equal_epochs": False}}], recipe={"lr": 1e-4}
    ),
}
SHARED = CASES["a shared pass, accumulated, uneven"]
WITH_NORMS = Case(
    [{"name": "lgvit", "set": {"regime": "alternating", "alternate_by": "forward", "equal_epochs": False}}],
    recipe={"accumulate": 2},
)
# Every head has a router. The steps have 5, 5 and 2 images, of which the processes have 2 and 3, and 1 each.
DETECTORS = Case(["lgvit"], train=12, recipe={"batch_size": 5}, detects=True)
# A step of the heads, one of the gates, and another of the heads.
GATES = Case([{"name": "jei-dnn", "set": {"warmup": 0.3, "interval": 1}}])


@dataclass
class TrainingLog:
    """The gradients of every optimizer step of a training, and its results, by learner."""

    gradients: dict[str, list[dict[str, torch.Tensor]]] = field(default_factory=dict)
    histories: dict[str, Any] = field(default_factory=dict)
    states: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


def train(
    case: Case, folder: Path, ranks: Ranks = ALONE, stop: int | None = None, ruin: int | None = None
) -> TrainingLog:
    """Train a case.

    Args:
        stop: the step after which the training stops.
        ruin: index of the learner whose weights become NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learners, inputs, frozen = case.learners(folder, ranks)
    log = TrainingLog()
    for number, learner in enumerate(learners):
        record_gradients(learner, log.gradients.setdefault(learner.name, []))
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
        log.histories[learner.name] = learner.history
        log.states[learner.name] = {name: x.clone() for name, x in learner.module.state_dict().items()}
    return log


def record_gradients(learner: Learner, steps: list[dict[str, torch.Tensor]]) -> None:
    """Append the gradients of every optimizer step to ``steps``."""

    def append(*_: Any) -> None:
        parameters = learner.module.named_parameters()
        steps.append({name: p.grad.clone() for name, p in parameters if p.grad is not None})

    learner.optimizer.register_step_pre_hook(append)


def score(folder: Path, ranks: Ranks = ALONE) -> Any:
    """The scores of 45 images in three batches."""
    folder.mkdir(parents=True, exist_ok=True)
    _, inputs, _ = CASES["a last batch of one image"].learners(folder, ranks)
    run = next(iter(load_grid(folder / f"grid-{ranks.rank}.yaml").runs)).train
    return score_test(MultiExitModel(build_backbone(run), build_heads(run)).eval(), inputs, 20, ranks)


def score_maps(folder: Path, ranks: Ranks = ALONE) -> Any:
    """The scores of 13 scenes in three batches, by a model whose tokens leave at thresholds that each process chooses."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = write_grid(
        folder / f"grid-{ranks.rank}.yaml", backbones=["vit_nano_patch4_64"], policies=["map-confidence"],
        datasets=[{"name": "fashion-scenes", "set": {"train": 20, "val": 10, "test": 13}}],
        methods=[{"name": "token-exit", "set": {"agreement": 0.1, "keep": 1}}],
    )  # fmt: skip
    (run,) = load_grid(grid).runs
    inputs = read_inputs(run.train, None, workers=0)
    parts = build_backbone(run.train), build_heads(run.train)
    model = trained_model(run.train, *parts, run_stages(run).scores.reduction, CPU)
    choose_on_val(model, inputs, CPU)
    return score_test(model, inputs, 5, ranks)


def score_test(model: MultiExitModel, inputs: Inputs, batch: int, ranks: Ranks) -> Any:
    """The scores of test in batches of this size; None on the rank that sends them."""
    default, loading.SCORING_BATCH = loading.SCORING_BATCH, batch
    try:
        return (score_split if ranks.leads else send_scores)(model, inputs, "test", CPU, ranks)
    finally:
        loading.SCORING_BATCH = default


def compare_data(folder: Path, ranks: Ranks) -> None:
    """Compare the data of the ranks, of which one has another first test image."""
    folder.mkdir(parents=True, exist_ok=True)
    _, inputs, _ = SHARED.learners(folder, ranks)
    inputs.check_ranks("test", ranks)
    test = inputs.splits["test"]
    images = test.images.copy()
    images[0] += np.uint8(ranks.rank)
    replace(inputs, splits={**inputs.splits, "test": replace(test, images=images)}).check_ranks("test", ranks)


def work(folder: Path) -> None:
    """Run in each of two processes: train, score, and write the results to the folder."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    with process_group(CPU) as context:
        ranks = context.ranks
        for name, case in [*CASES.items(), ("norms", WITH_NORMS), ("gates", GATES), ("detectors", DETECTORS)]:
            results[name] = train(case, folder / name, ranks)
        results["scores"] = score(folder / "scores", ranks)
        results["maps"] = score_maps(folder / "maps", ranks)
        results["stopped"] = message_of(Interrupted, lambda: train(SHARED, folder / "stopped", ranks, stop=1))
        results["resumed"] = train(SHARED, folder / "stopped", ranks)
        message_of(Interrupted, lambda: train(GATES, folder / "stopped gates", ranks, stop=1))
        results["resumed gates"] = train(GATES, folder / "stopped gates", ranks)
        message_of(Interrupted, lambda: train(DETECTORS, folder / "stopped detectors", ranks, stop=1))
        results["resumed detectors"] = train(DETECTORS, folder / "stopped detectors", ranks)
        results["ruined"] = message_of(TrainingDivergedError, lambda: train(SHARED, folder / "ruined", ranks, ruin=1))
        results["other image"] = message_of(DataError, lambda: compare_data(folder / "data", ranks))
        message_of(Interrupted, lambda: train(SHARED, folder / "half", ranks, stop=1))
        if ranks.leads:
            context.dismiss()
        else:
            assert not list(context.calls())
    torch.save(results, folder / f"rank-{ranks.rank}.pt")


Results = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The folder of the two processes, and the results of each."""
    folder = tmp_path_factory.mktemp("ranks")
    launch_two(work, folder)
    return folder, [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(SIZE)]


def largest(tensors: dict[str, torch.Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors.values())


def assert_same(first: TrainingLog, second: TrainingLog) -> None:
    """Both results have the same bits."""
    assert first.states.keys() == second.states.keys()
    for name, state in first.states.items():
        assert all(torch.equal(tensor, second.states[name][key]) for key, tensor in state.items()), name
    assert first.histories == second.histories


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_and_losses_of_one(name: str, two: Results, tmp_path: Path) -> None:
    alone, shared = train(CASES[name], tmp_path), two[1][0][name]
    for learner, steps in alone.gradients.items():
        assert len(steps) == len(shared.gradients[learner]) == 3
        for step, shared_step in zip(steps, shared.gradients[learner], strict=True):
            assert step.keys() == shared_step.keys()  # parameters without gradients have none in both
            assert largest({key: step[key] - shared_step[key] for key in step}) < 1e-5 * max(largest(step), 1e-3)
    for learner, history in alone.histories.items():
        for step, shared_step in zip(history, shared.histories[learner], strict=True):
            assert step == pytest.approx(shared_step, rel=1e-5)


def test_gates_of_two_processes_learn_from_the_targets_of_their_shares(two: Results, tmp_path: Path) -> None:
    """The rule in docs/multi-gpu.md: rare targets are weighted by their number among the images of a process."""
    (alone,), (shared,) = train(GATES, tmp_path).gradients.values(), two[1][0]["gates"].gradients.values()
    parts = [{key.split(".")[-2] for key in step} for step in shared]
    assert parts == [{"linear"}, {"gate"}, {"linear"}] == [{key.split(".")[-2] for key in step} for step in alone]
    for step in (0, 2):
        differences = {key: alone[step][key] - shared[step][key] for key in alone[step]}
        assert largest(differences) < 1e-5 * largest(alone[step])


@pytest.mark.parametrize("name", [*CASES, "norms", "gates", "detectors"])
def test_both_processes_end_with_the_same_bits(name: str, two: Results) -> None:
    assert_same(two[1][0][name], two[1][1][name])


@pytest.mark.parametrize(("name", "case"), [("norms", WITH_NORMS), ("detectors", DETECTORS)])
def test_shares_have_own_statistics_and_running_ones_are_averaged(
    name: str, case: Case, two: Results, tmp_path: Path
) -> None:
    """The rules in docs/multi-gpu.md for BatchNorms, of batch statistics, and for routers, of medians: means over images."""
    (first,), inputs, frozen = case.learners(tmp_path)
    (second,), _, _ = case.learners(tmp_path)
    recipe, both = first.recipe, [Ranks(0, 2), Ranks(1, 2)]
    loaders = [inputs.training(recipe, "exits", 0, 0, 0, ranks) for ranks in both]
    for batches in zip(*loaders, strict=True):
        shares = [0.0, 0.0]
        for learner, batch, ranks in zip((first, second), batches, both, strict=True):
            for number, (part, piece) in enumerate(batch.parts(ranks.share(recipe))):
                learner.backward(part, frozen(part), number, piece.weight / batch.size, piece, ranks.seed_parts)
                shares[ranks.rank] += piece.weight / batch.size
        for one, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
            if one.grad is not None and other.grad is not None:
                one.grad += other.grad
                other.grad.copy_(one.grad)
        for (key, one), other in zip(first.module.named_buffers(), second.module.buffers(), strict=True):
            if key.endswith(("running_mean", "running_var", "gap")):
                one.copy_(shares[0] * one + shares[1] * other)
                other.copy_(one)
        first.update()
        second.update()
    (state,) = two[1][0][name].states.values()
    by_hand = first.module.state_dict()
    assert any("running_mean" in key for key in by_hand)
    for key, tensor in by_hand.items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-5, atol=1e-6)
    counts = [int(tensor) for key, tensor in state.items() if key.endswith("router.images")]
    assert counts == [case.train] * (2 if case.detects else 0)  # of all images, and not of a share


def test_on_a_gpu_sync_batchnorms_keep_the_parameters() -> None:
    """The conversion to torch's SyncBatchNorm, which runs only on GPUs, keeps the parameters."""
    heads = nn.ModuleList([nn.BatchNorm2d(3)])
    weight = heads[0].weight
    synchronise_norms(heads, Ranks(0, 2))
    assert type(heads[0]) is nn.BatchNorm2d
    on_gpu = nn.SyncBatchNorm.convert_sync_batchnorm(heads)
    assert isinstance(on_gpu[0], nn.SyncBatchNorm)
    assert on_gpu[0].weight is weight
    assert not running_statistics(on_gpu)


@pytest.mark.parametrize(("name", "images"), [("scores", 45), ("maps", 13)])
def test_scores_are_the_bits_of_one_process(name: str, images: int, two: Results, tmp_path: Path) -> None:
    alone, shared = {"scores": score, "maps": score_maps}[name](tmp_path), two[1][0][name]
    assert two[1][1][name] is None
    assert alone.tensors.keys() == shared.tensors.keys()
    assert all(torch.equal(tensor, shared.tensors[key]) for key, tensor in alone.tensors.items())
    assert len(shared.sample_id.unique()) == images
    if name == "maps":  # images differ in their tokens
        assert len(shared.tokens[0, :, -1].unique()) > 1


def test_stopped_and_resumed_together_changes_no_bit(two: Results) -> None:
    for result in two[1]:
        assert result["stopped"] == RESUMES  # on both
        assert_same(result["resumed"], result[next(iter(CASES))])
        assert_same(result["resumed gates"], result["gates"])
        assert_same(result["resumed detectors"], result["detectors"])


def test_a_checkpoint_of_another_number_of_processes_is_refused(two: Results) -> None:
    with pytest.raises(StoreError, match="--gpus 2"):
        train(SHARED, two[0] / "half")


def test_ranks_with_different_images_end_in_one_sentence(two: Results) -> None:
    first, second = (results["other image"] for results in two[1])
    assert first == second
    for word in ("test", "fashion-mnist-mini", "node"):
        assert word in first


def test_both_ranks_see_a_nan_loss(two: Results) -> None:
    first, second = (result["ruined"] for result in two[1])
    assert first == second
    assert all(part in first for part in ("nan", "epoch 1"))
