"""Recipes in bfloat16 and float16: close to float32, and as reproducible. Both run on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import Interrupted
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.finetune import finetune_learner
from benchmark.training.loop import Learner
from datasets.loading import Batch
from methods.losses.terms import channel_divergence, distillation, gram_distance
from tests.benchmark.training.loops import CPU, Loop, assert_same, loop_grid
from tests.grids import write_grid


def in_precision(precision: str) -> dict[str, Any]:
    return {"recipes": {"exits": {"precision": precision}}}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_stop_changes_no_bit_and_a_shared_pass_none(precision: str, tmp_path: Path) -> None:
    loop = Loop(tmp_path, **in_precision(precision))
    alone = loop.learners(0)
    (expected,) = loop.fit(alone, tmp_path / "alone")
    with pytest.raises(Interrupted):
        loop.fit(loop.learners(0, 4), tmp_path / "stopped", stop=4)
    for checkpoint in tmp_path.glob("stopped/*/checkpoint.pt"):
        scaler = torch.load(checkpoint, weights_only=True)["scaler"]
        assert scaler.get("_growth_tracker") == (4 if precision == "fp16" else None)  # steps without overflow in a row
    assert_same(loop.fit(loop.learners(0, 4), tmp_path / "stopped")[0], expected)
    assert {tensor.dtype for tensor in expected.values()} <= {torch.float32, torch.int64}

    whole = Loop(tmp_path)
    in_full = whole.learners(0)
    (other,) = whole.fit(in_full, tmp_path / "full")
    assert any(not torch.equal(tensor, other[name]) for name, tensor in expected.items())
    for low, full in zip(alone[0].history, in_full[0].history, strict=True):
        assert low["total"] == pytest.approx(full["total"], rel=0.02)


def one_step(learner: Learner) -> None:
    batch = Batch(torch.randn(4, 1, 28, 28), torch.arange(4), torch.arange(4))
    learner.backward(batch, None, 0, 1.0)
    learner.update()


def test_a_step_with_overflowing_gradients_is_skipped_and_halves_the_scale(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    stage = loop.stages[0].reference
    assert stage.recipe is not None
    learner = finetune_learner(stage, loop.inputs, None, CPU)
    learner.recipe = stage.recipe.model_copy(update={"precision": "fp16"})
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    start = [parameter.clone() for parameter in learner.module.parameters()]
    one_step(learner)
    assert all(torch.equal(a, b) for a, b in zip(start, learner.module.parameters(), strict=True))
    assert learner.scaler.get_scale() == 2.0**29
    while learner.scaler.get_scale() > 2.0**10:
        one_step(learner)
        learner.scaler.update(learner.scaler.get_scale() / 2)
    assert any(not torch.equal(a, b) for a, b in zip(start, learner.module.parameters(), strict=True))


def test_losses_are_computed_in_full(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, teacher = (8 * torch.randn(2, 3, 49, 16)).bfloat16()
    pairs = [
        (channel_divergence, ()),
        (gram_distance, ()),
        (lambda s, t, *x: distillation(s[:, 0], t[:, 0], *x), (2.0,)),
    ]
    for term, others in pairs:
        expected = term(student.float(), teacher.float(), *others)
        with torch.autocast("cpu", torch.bfloat16):
            loss = term(student, teacher, *others)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected)


def test_only_another_precision_makes_another_key(tmp_path: Path) -> None:
    keys = {}
    for precision in ("", "fp32", "bf16"):
        path = write_grid(tmp_path / "grid.yaml", **loop_grid(**(in_precision(precision) if precision else {})))
        keys[precision] = run_stages(load_grid(path).runs[0]).training[-1].key
    assert keys[""] == keys["fp32"] != keys["bf16"]
