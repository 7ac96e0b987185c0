"""The training loop: a stop at any step or a shared pass changes no bit of a learner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmark.errors import Interrupted, TrainingDivergedError, blamed
from benchmark.execution.causes import failure_of
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.task import run_plan
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.stages.plan import make_plan
from benchmark.training.checkpoints import previous, write_checkpoint
from benchmark.training.finetune import finetune_learner
from benchmark.training.loop import CHECKPOINT_SECONDS, Learner, fit
from benchmark.training.ranks import Ranks
from methods import METHODS
from methods.api import BackboneCard, Card, Component, MethodCard, TrainStage
from methods.losses import LOSSES
from methods.losses.self_distillation import SelfDistillation
from methods.vanilla import Vanilla
from results.store.folder import Store, StoreError
from tests.benchmark.training.loops import CPU, STRONG_AUGMENTATION, Loop, StopAt, assert_same, state
from tests.grids import write_grid


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
    for actual, whole in zip(loop.fit(resumed, tmp_path / "stopped"), expected, strict=True):
        assert_same(actual, whole)


def test_saves_that_take_longer_than_their_interval_do_not_follow_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, saves=0)
    write = Learner.save

    def slow(self: Learner, path: Path, ranks: Ranks) -> None:
        write(self, path, ranks)
        clock.saves += 1
        clock.now += 1.5 * CHECKPOINT_SECONDS

    monkeypatch.setattr(Learner, "save", slow)
    monkeypatch.setattr("benchmark.training.loop.time", SimpleNamespace(monotonic=lambda: clock.now))
    loop = Loop(tmp_path)
    (learner,) = learners = loop.learners(0)
    loop.fit(learners, tmp_path / "saved")
    assert (learner.step, clock.saves) == (6, 2)  # after each epoch
    assert learner.seconds == 1.5 * CHECKPOINT_SECONDS  # of the first save; the last one ends after the training


def test_with_muon_a_stop_changes_no_bit_and_the_weights_are_others_than_with_adamw(tmp_path: Path) -> None:
    weights = []
    for optimizer in ("muon", "adamw"):
        recipe = {"epochs": 2, "batch_size": 20, "optimizer": optimizer, "lr": 0.01}
        loop = Loop(tmp_path, recipes={"exits": recipe})
        weights.append(loop.fit(loop.learners(0), tmp_path / optimizer / "whole")[0])
        with pytest.raises(Interrupted):
            loop.fit(loop.learners(0), tmp_path / optimizer / "stopped", stop=4)
        assert_same(loop.fit(loop.learners(0), tmp_path / optimizer / "stopped")[0], weights[-1])
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_stop_changes_no_bit_where_the_heads_read_merged_tokens(tmp_path: Path) -> None:
    loop = Loop(tmp_path, methods=[{"name": "vanilla", "set": {"merge": 3}}])
    expected = loop.fit(loop.learners(0), tmp_path / "whole")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0), tmp_path / "stopped", stop=4)
    assert_same(loop.fit(loop.learners(0), tmp_path / "stopped")[0], expected[0])
    plain = Loop(tmp_path)
    assert not torch.equal(plain.fit(plain.learners(2), tmp_path / "plain")[0]["heads.1.pooler.weight"],
                           expected[0]["heads.1.pooler.weight"])  # fmt: skip


def test_a_stop_between_the_turns_of_heads_and_gates_changes_no_bit(tmp_path: Path) -> None:
    loop = Loop(tmp_path, methods=[{"name": "jei-dnn", "set": {"warmup": 0.3, "interval": 1}}], learning_rates=None)
    expected = loop.fit(loop.learners(0), tmp_path / "whole")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0), tmp_path / "stopped", stop=3)
    resumed = loop.learners(0)
    assert_same(loop.fit(resumed, tmp_path / "stopped")[0], expected[0])
    assert {"cross_entropy", "gate_error"} <= resumed[0].history[-1].keys()


@pytest.mark.parametrize("method", [{"name": "tome", "set": {"r": 3}}, {"name": "evit", "set": {"keep": 0.6}}])
def test_a_stop_of_fine_tuning_with_fewer_tokens_changes_no_bit(tmp_path: Path, method: dict[str, Any]) -> None:
    loop = Loop(
        tmp_path,
        methods=[{**method, "set": {**method["set"], "trained": True}}],
        recipes={"finetune": {"epochs": 1}, "exits": {"epochs": 1}},
        learning_rates=None,
    )
    (stage,) = loop.stages[0].training
    assert stage.reduction is not None

    def fine_tuned(folder: Path, stop: int | None = None) -> dict[str, torch.Tensor]:
        learner = finetune_learner(stage, loop.inputs, None, CPU)
        fit([learner], lambda epoch, skip: loop.inputs.training(learner.recipe, "finetune", 0, epoch, skip),
            lambda batch: None, lambda learner: folder / "checkpoint.pt", StopAt(stop), CPU)  # fmt: skip
        return state(learner)

    whole = fine_tuned(tmp_path / "whole")
    with pytest.raises(Interrupted):
        fine_tuned(tmp_path / "stopped", stop=4)
    assert_same(fine_tuned(tmp_path / "stopped"), whole)


def test_a_kill_between_two_checkpoints_changes_no_bit(tmp_path: Path) -> None:
    """After the kill, one learner is a step ahead of the other and waits for it."""
    loop = Loop(tmp_path)
    expected = loop.fit(loop.learners(0, 1), tmp_path / "whole")
    for method, stop in ((0, 4), (1, 2)):
        with pytest.raises(Interrupted):
            loop.fit(loop.learners(method), tmp_path / "torn", stop=stop)
    for actual, whole in zip(loop.fit(loop.learners(0, 1), tmp_path / "torn"), expected, strict=True):
        assert_same(actual, whole)


def test_with_stronger_augmentations_a_stop_changes_no_bit_and_a_shared_pass_none(tmp_path: Path) -> None:
    loop = Loop(tmp_path, recipes={"exits": STRONG_AUGMENTATION})
    (alone,) = loop.fit(loop.learners(0), tmp_path / "alone")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0, 1), tmp_path / "stopped", stop=4)
    stopped = loop.learners(0, 1)
    assert_same(loop.fit(stopped, tmp_path / "stopped")[0], alone)
    assert all(0 < epoch["accuracy"] < 1 for epoch in stopped[0].history)


def test_fine_tuning_learns_from_mixed_images(tmp_path: Path) -> None:
    loop = Loop(tmp_path, recipes={"finetune": {"lr": 0.01, "warmup": 0, "epochs": 4, **STRONG_AUGMENTATION}})
    stage = loop.stages[0].reference
    assert stage.recipe is not None
    learner = finetune_learner(stage, loop.inputs, None, CPU)
    fit([learner], lambda epoch, skip: loop.inputs.training(learner.recipe, "finetune", 0, epoch, skip), lambda batch: None,
        lambda learner: tmp_path / "checkpoint.pt", StopAt(), CPU)  # fmt: skip
    assert learner.history[-1]["total"] < learner.history[0]["total"]


def test_a_resumed_training_has_the_same_history(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_named_and_changes_no_bit(tmp_path: Path, damaged: int) -> None:
    """One flipped bit: the training resumes from the previous checkpoint; with both damaged it starts again."""
    loop = Loop(tmp_path)
    (expected,) = loop.fit(loop.learners(0), tmp_path / "whole")
    for stop in (2, 4):
        with pytest.raises(Interrupted):
            loop.fit(loop.learners(0), tmp_path / "stopped", stop=stop)
    (learner,) = loop.learners(0)
    latest = tmp_path / "stopped" / learner.name / "checkpoint.pt"
    files = [latest, previous(latest)]
    for path in files[:damaged]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    watcher = StopAt()
    assert_same(loop.fit([learner], tmp_path / "stopped", watcher=watcher)[0], expected)
    (sentence,) = watcher.damages
    assert all(str(path) in sentence for path in files[:damaged])
    assert ("resumes from checkpoint-previous.pt" if damaged == 1 else "starts again") in sentence


def test_a_checkpoint_of_another_module_is_named(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    (learner,) = loop.learners(0)
    path = tmp_path / "c" / learner.name / "checkpoint.pt"
    write_checkpoint(path, b"not a checkpoint")
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be resumed from") as error:
        loop.fit([*loop.learners(1), learner], tmp_path / "c")
    assert blamed(error.value) == learner.name


def test_no_learner_is_blamed_for_the_memory_of_its_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(tmp_path)
    first, second = loop.learners(0, 1)
    for error in (torch.OutOfMemoryError(), ValueError()):

        def fails(*arguments: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(second, "backward", fails)
        with pytest.raises(type(error)):
            loop.fit([first, second], tmp_path / type(error).__name__)
        assert blamed(error) == (second.name if isinstance(error, ValueError) else None)


def test_a_nan_loss_stops_the_training(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    learner = finetune_learner(loop.stages[0].reference, loop.inputs, None, CPU)
    with torch.no_grad():
        next(learner.module.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="the loss is nan in epoch 1"):
        fit([learner], lambda e, s: loop.inputs.training(learner.recipe, "f", 0, e, s), lambda b: None,
            lambda learner: tmp_path / "checkpoint.pt", StopAt(), CPU)  # fmt: skip
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_no_result_even_without_a_step(tmp_path: Path, value: str) -> None:
    loop = Loop(tmp_path, recipes={"finetune": {"epochs": 0}})
    learner = finetune_learner(loop.stages[0].reference, loop.inputs, None, CPU)
    assert learner.total_steps == 0
    with torch.no_grad():
        next(learner.module.parameters()).fill_(float(value))
    with pytest.raises(TrainingDivergedError, match="not finite before the first step") as caught:
        fit([learner], lambda epoch, skip: [], lambda batch: None, lambda one: tmp_path / "c.pt", StopAt(), CPU)
    assert failure_of(caught.value) == "nan"


def test_a_method_that_diverges_does_not_stop_the_others_of_its_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "wild", MethodCard(target=f"{__name__}:Wild", summary=""))
    monkeypatch.setitem(LOSSES, "no-number", Card(target=f"{__name__}:NoNumber", summary=""))
    grid = write_grid(tmp_path / "grid.yaml", methods=["lgvit", "wild", "vanilla"])
    store = Store(tmp_path / "results")
    store.prepare()
    plan = make_plan(load_grid(grid), store)
    config = ExecutionConfig(results=store.root, session="s", device="cpu", threads=1)
    run_plan(plan, config, Reporter(Console(quiet=True)))
    (failed,) = (record for run in plan.runs if (record := store.record(run.run_id)).status == "failed")
    assert failed.label == "wild"
    assert "the loss is nan" in failed.cause
    assert sorted(store.record(run.run_id).status for run in plan.runs) == ["done", "done", "failed"]


@dataclass(frozen=True)
class NoNumber(SelfDistillation):
    """A loss that is NaN."""

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        return {name: term * float("nan") for name, term in super().__call__(*arguments).items()}


@dataclass(frozen=True)
class Wild(Vanilla):
    """Linear heads with that loss."""

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Component("no-number")),)
