"""Stopped at any moment, gone on with, and bit for bit what an undisturbed run gives."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmark.execution.local import execute_here
from benchmark.execution.maker import StageMaker
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.stages.graph import run_stages
from benchmark.stages.plan import make_plan
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.finetune import finetune_learner
from benchmark.training.inputs import read_inputs
from benchmark.training.loop import Interrupted, Learner, TrainingDivergedError, fit
from methods import METHODS
from methods.api import BackboneCard, Card, Choice, TrainStage
from methods.losses import LOSSES
from methods.losses.self_distillation import SelfDistillation
from methods.vanilla import Vanilla
from results.store.folder import Store, StoreError
from tests.conftest import ROOT, Command, SmokeRun, environment

KILLS = 20
CPU = torch.device("cpu")


def start(results: Path, out: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--grid",
        "smoke",
        "--results",
        results,
        "--out",
        out,
    ]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # type: ignore[call-overload, no-any-return]


def contents(results: Path) -> dict[str, Any]:
    """Everything in a results folder that must not depend on how it came about."""
    found: dict[str, Any] = {}
    for path in [*results.glob("stages/*/*"), *results.glob("runs/*/*")]:
        name = path.relative_to(results).as_posix()
        if path.name == "record.json":
            record = json.loads(path.read_text())
            del record["provenance"]
            for stage in record["stages"]:
                # Wall time; and after a kill between two writes, a pass may be shared by fewer.
                del stage["seconds"], stage["shared_pass"]
            found[name] = record
        elif path.name != "provenance.json":
            found[name] = path.read_bytes()
    return found


@pytest.mark.timeout(1200)
def test_sigkill_at_random_moments_changes_no_bit(smoke: SmokeRun, tmp_path: Path) -> None:
    expected = contents(smoke.results)
    rng = random.Random(20230800255)
    results, kills, finished = tmp_path / "results-0", 0, 0
    while kills < KILLS or finished == 0:
        process = start(results, tmp_path / f"out-{finished}")
        if kills < KILLS:
            try:
                process.wait(rng.uniform(3, 9))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        output, _ = process.communicate()
        if process.returncode == -signal.SIGKILL:
            continue
        assert process.returncode == 0, output
        assert contents(results) == expected
        finished += 1
        results = tmp_path / f"results-{finished}"


def test_ctrl_c_writes_the_checkpoint_and_says_how_to_go_on(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    results = tmp_path / "results"
    process = start(results, tmp_path / "out")
    assert process.stdout is not None
    for line in process.stdout:
        if "fine-tuning" in line:
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from the last checkpoint" in output
    assert "Traceback" not in output
    (checkpoint,) = results.glob("progress/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    done = benchmark_command("run", "--grid", "smoke", "--results", results, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "going on from the checkpoint in epoch" in done.stdout
    assert contents(results) == contents(smoke.results)


# The loop itself


class StopAt:
    """A watcher that asks to stop after one step."""

    def __init__(self, step: int | None = None) -> None:
        self.at, self.now = step, -1

    def resumed(self, step: int, epoch: int) -> None:
        self.now = step if step != self.at else -1

    def step(self, step: int, epoch: int, metrics: Any) -> None:
        self.now = step

    def stop_requested(self) -> bool:
        return self.now == self.at


GRID = """
name: loop
backbones: [vit_nano_patch4_28]
datasets: [{name: fashion-mnist-mini, set: {train: 50, val: 10, test: 10}}]
methods: [lgvit, vanilla, homogeneous-global, {name: pabee, set: {regime: frozen}}, {name: berxit, set: {regime: frozen}}]
exits: [[3, 7]]
learning_rates: [0.5, 1]
recipes: {finetune: {epochs: 2, batch_size: 20}, exits: {epochs: 2, batch_size: 20, lr: 0.01}}
"""


class Loop:
    """The runs of GRID, each method at two learning rates, on one frozen backbone of random weights, six steps each."""

    def __init__(self, folder: Path, grid: str = GRID) -> None:
        (folder / "grid.yaml").write_text(grid)
        self.stages = [run_stages(run) for run in load_grid(folder / "grid.yaml").runs]
        self.train = self.stages[0].spec.train
        self.inputs = read_inputs(self.train, None, workers=0)
        self.backbone = build_backbone(self.train).eval().requires_grad_(False)

    def learners(self, *methods: int) -> list[Learner]:
        return [exits_learner(self.stages[i].training[-1], None, self.inputs, CPU) for i in methods]

    def fit(self, learners: list[Learner], folder: Path, stop: int | None = None) -> list[dict[str, torch.Tensor]]:
        run_frozen = frozen_pass(self.backbone, [stages.training[-1] for stages in self.stages])
        recipe = self.train.recipes.exits
        fit(
            learners,
            lambda epoch, skip: self.inputs.training(recipe, "exits", 0, epoch, skip),
            run_frozen,
            lambda learner: folder / learner.name / "checkpoint.pt",
            StopAt(stop),
            CPU,
        )
        return [state(learner) for learner in learners]


def state(learner: Learner) -> dict[str, torch.Tensor]:
    tensors = dict(learner.module.state_dict())
    for i, moments in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"{i}/{name}": value for name, value in moments.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_learners_trained_together_give_the_bits_that_they_give_alone(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    assert len({stages.training[-1].shared_pass for stages in loop.stages}) == 1
    together = loop.fit(loop.learners(*range(len(loop.stages))), tmp_path / "together")
    assert len(together) == 5 * 2
    for i, expected in enumerate(together):
        (alone,) = loop.fit(loop.learners(i), tmp_path / f"alone-{i}")
        assert_same(alone, expected)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_stop_at_any_step_changes_no_bit(tmp_path: Path, step: int) -> None:
    loop = Loop(tmp_path)
    expected = loop.fit(loop.learners(0, 1), tmp_path / "whole")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0, 1), tmp_path / "stopped", stop=step)
    resumed = loop.learners(0, 1)
    for found, whole in zip(loop.fit(resumed, tmp_path / "stopped"), expected, strict=True):
        assert_same(found, whole)


def test_a_kill_between_two_checkpoints_changes_no_bit(tmp_path: Path) -> None:
    """One learner is a step ahead of the other: it waits for it."""
    loop = Loop(tmp_path)
    expected = loop.fit(loop.learners(0, 1), tmp_path / "whole")
    for method, stop in ((0, 4), (1, 2)):
        with pytest.raises(Interrupted):
            loop.fit(loop.learners(method), tmp_path / "torn", stop=stop)
    for found, whole in zip(loop.fit(loop.learners(0, 1), tmp_path / "torn"), expected, strict=True):
        assert_same(found, whole)


STRONGER = (
    "augment: crop-flip, rand_augment: rand-m9-mstd0.5-inc1, erasing: 0.25, mixup: 0.8, cutmix: 1.0, accumulate: 2"
)


def test_with_stronger_augmentations_a_stop_changes_no_bit_and_a_shared_pass_none(tmp_path: Path) -> None:
    loop = Loop(tmp_path, GRID.replace("lr: 0.01", f"lr: 0.01, {STRONGER}"))
    (alone,) = loop.fit(loop.learners(0), tmp_path / "alone")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0, 1), tmp_path / "stopped", stop=4)
    stopped = loop.learners(0, 1)
    assert_same(loop.fit(stopped, tmp_path / "stopped")[0], alone)
    assert all(0 < epoch["accuracy"] < 1 for epoch in stopped[0].history)


def test_fine_tuning_learns_from_mixed_images(tmp_path: Path) -> None:
    loop = Loop(
        tmp_path, GRID.replace("finetune: {epochs: 2", f"finetune: {{lr: 0.01, warmup: 0, epochs: 4, {STRONGER}")
    )
    stage = loop.stages[0].reference
    assert stage.recipe is not None
    learner = finetune_learner(stage, loop.inputs, None, CPU)
    fit([learner], lambda epoch, skip: loop.inputs.training(learner.recipe, "finetune", 0, epoch, skip), lambda batch: None,
        lambda learner: tmp_path / "checkpoint.pt", StopAt(), CPU)  # fmt: skip
    assert learner.history[-1]["total"] < learner.history[0]["total"]


def test_history_is_the_same_however_it_was_reached(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    (whole,) = loop.learners(0)
    loop.fit([whole], tmp_path / "whole")
    (stopped,) = loop.learners(0)
    with pytest.raises(Interrupted):
        loop.fit([stopped], tmp_path / "stopped", stop=2)
    (resumed,) = loop.learners(0)
    loop.fit([resumed], tmp_path / "stopped")
    assert resumed.history == whole.history
    assert len(whole.history) == 2


def test_the_thread_count_of_the_start_is_kept(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    torch.set_num_threads(2)
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0), tmp_path / "c", stop=2)
    torch.set_num_threads(1)
    loop.fit(loop.learners(0), tmp_path / "c")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    (learner,) = loop.learners(0)
    path = tmp_path / "c" / learner.name / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be resumed from"):
        loop.fit([learner], tmp_path / "c")


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    learner = finetune_learner(loop.stages[0].reference, loop.inputs, None, CPU)
    with torch.no_grad():
        next(learner.module.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="the loss is nan in epoch 1"):
        fit([learner], lambda e, s: loop.inputs.training(learner.recipe, "f", 0, e, s), lambda b: None,
            lambda learner: tmp_path / "checkpoint.pt", StopAt(), CPU)  # fmt: skip
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_method_that_diverges_does_not_sink_the_others_of_its_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "wild", Card(target=f"{__name__}:Wild", summary=""))
    monkeypatch.setitem(LOSSES, "no-number", Card(target=f"{__name__}:NoNumber", summary=""))
    path = tmp_path / "grid.yaml"
    methods = next(line for line in GRID.splitlines() if line.startswith("methods"))
    path.write_text(GRID.replace(methods, "methods: [lgvit, wild, vanilla]").replace("[0.5, 1]", "[1]"))
    store = Store(tmp_path / "results")
    store.prepare()
    plan = make_plan(load_grid(path), store)
    failed = execute_here(StageMaker(plan, store, Reporter(Console(quiet=True)), CPU, None))
    assert [store.record(run_id).label for run_id in failed] == ["wild"]
    assert "the loss is nan" in str(store.record(failed[0]).cause)
    assert sorted(store.record(run.run_id).status for run in plan.runs) == ["done", "done", "failed"]


@dataclass(frozen=True)
class NoNumber(SelfDistillation):
    """A loss that is no number."""

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        return {name: term * float("nan") for name, term in super().__call__(*arguments).items()}


@dataclass(frozen=True)
class Wild(Vanilla):
    """Linear heads with that loss."""

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Choice("no-number")),)
