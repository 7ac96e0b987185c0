"""The loss of joint training: weights of the exits, alternation, and learned gates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from methods.heads.linear import LinearHead
from methods.losses.joint_cross_entropy import JointCrossEntropy
from methods.losses.self_distillation import SelfDistillation
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, backbone_pass
from tests.methods.test_detection import model_of, scenes
from tests.methods.test_losses import small


def joint(step: int = 0, forward: int | None = None) -> TrainingPass:
    """Like `small`, with gradients through the backbone."""
    training = small()
    passed = backbone_pass(training.passed.backbone, torch.randn(6, 1, 28, 28), training.exit_heads.exits)
    return replace(training, passed=passed, step=step, forward=step if forward is None else forward)


@pytest.mark.parametrize(("weights", "factors"), [
    ("uniform", [1, 1, 1, 1, 1, 1]), ("depth", [2, 4, 6, 8, 10, 12]), ("final-double", [1, 1, 1, 1, 1, 2]),
])  # fmt: skip
def test_joint_total_is_the_weighted_mean(weights: str, factors: list[int]) -> None:
    training = joint()
    terms = JointCrossEntropy(weights=weights)(training)  # type: ignore[arg-type]
    logits = [*training.outputs.logits, training.passed.logits]
    losses = [torch.nn.functional.cross_entropy(z, training.labels) for z in logits]
    expected = sum(f * loss for f, loss in zip(factors, losses, strict=True)) / sum(factors)
    torch.testing.assert_close(terms["total"], torch.as_tensor(expected))
    torch.testing.assert_close(terms["cross_entropy"], sum(losses[:-1]) / 5)
    torch.testing.assert_close(terms["final_cross_entropy"], losses[-1])


def test_alternating_starts_with_the_final_exit_and_alternates_by_step_or_forward() -> None:
    by_step, by_forward = JointCrossEntropy(alternate="step"), JointCrossEntropy(alternate="forward")
    assert ["cross_entropy" in by_step(joint(step)) for step in range(4)] == [False, True, False, True]
    # With two forward passes per step, the official counter alternates within each step.
    turns = [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert ["cross_entropy" in by_forward(joint(*turn)) for turn in turns] == [False, True, False, True]
    assert ["cross_entropy" in by_step(joint(*turn)) for turn in turns] == [False, False, True, True]


@pytest.mark.parametrize("always", [False, True])
def test_a_step_of_the_final_exit_updates_the_heads_statistics_only_if_they_always_run(always: bool) -> None:
    training = joint()
    norm = training.exit_heads.in_order[0].norm_in
    before = norm.running_mean.clone()
    JointCrossEntropy(alternate="step", heads_always=always)(training)["total"].backward()
    assert torch.equal(before, norm.running_mean) is not always
    assert all(p.grad is None for p in training.exit_heads.parameters())


def test_routers_rest_in_a_step_of_the_final_exit() -> None:
    """To train them, the heads would run, and their BatchNorm layers would see the batches of these steps."""
    model, (images, labels) = model_of("lph", "lph").train(), scenes(4)
    passed = backbone_pass(model.backbone, images, model.exit_heads.exits)
    before = {name: value.clone() for name, value in model.exit_heads.named_buffers()}
    changed = {}
    for step in (0, 1):
        terms = JointCrossEntropy(alternate="step")(
            TrainingPass(model.task, model.exit_heads, passed, labels, step=step)
        )
        assert ("router" in terms) == (step == 1)
        changed[step] = {
            name for name, value in model.exit_heads.named_buffers() if not torch.equal(value, before[name])
        }
    assert changed[0] == set()
    assert changed[1] == set(before)


@pytest.mark.parametrize(("idle_heads", "moves"), [("rest", False), ("zero-gradient", True)])
def test_momentum_moves_idle_heads_only_with_a_gradient_of_zero(idle_heads: str, moves: bool) -> None:
    """``zero_grad()`` of torch 1.12 left zeros, so AdamW moved the heads in steps that use only the final exit."""
    loss, first = JointCrossEntropy(alternate="step", idle_heads=idle_heads), joint(1)
    weight = first.exit_heads.in_order[0].classifier.linears[0].weight
    optimizer = torch.optim.AdamW(first.exit_heads.parameters(), lr=0.01, weight_decay=0)
    loss(replace(first, forward=1))["total"].backward()
    optimizer.step()
    optimizer.zero_grad()
    before = weight.detach().clone()
    final = loss(replace(joint(2), exit_heads=first.exit_heads, forward=2))
    assert "cross_entropy" not in final
    torch.testing.assert_close(final["total"], final["final_cross_entropy"])
    final["total"].backward()
    optimizer.step()
    assert torch.equal(before, weight) is not moves


@pytest.mark.parametrize(("step", "factors"), [
    (0, [0.01, 0.01, 0.01, 0.01, 0.01]),
    (50, [0.01 + share / 2 for share in (0.15, 0.30, 6 / 12, 8 / 12, 10 / 12)]),
    (99, [0.15, 0.30, 6 / 12, 8 / 12, 10 / 12]),
])  # fmt: skip
def test_ramped_weights_end_at_the_originals_or_at_the_relative_depth(step: int, factors: list[float]) -> None:
    training = replace(joint(step), total_steps=100)
    terms = JointCrossEntropy(weights="ramp", reduction="sum")(training)
    *early, final = (
        torch.nn.functional.cross_entropy(z, training.labels)
        for z in [*training.outputs.logits, training.passed.logits]
    )
    expected = sum(f * loss for f, loss in zip(factors, early, strict=True)) + final
    torch.testing.assert_close(terms["total"], torch.as_tensor(expected))


def gated(step: int = 0) -> TrainingPass:
    """Three linear heads with a gate, gradients through the backbone."""
    training = joint(step)
    heads = ExitHeads((2, 6, 10), [LinearHead(32, 5, 7, 1, gate=True) for _ in range(3)])
    return replace(training, exit_heads=heads)


def test_a_gate_learns_the_errors_of_its_exit_and_sends_no_gradient_to_the_classifier() -> None:
    training = gated()
    error = training.gate_error()
    assert error is not None
    heads = training.exit_heads.in_order
    wrong = [(z.argmax(-1) != training.labels).float() for z in training.outputs.logits]
    gates = [
        torch.sigmoid(head.gate(feature))[:, 0] for head, feature in zip(heads, training.outputs.features, strict=True)
    ]
    expected = sum(((gate - target) ** 2).mean() for gate, target in zip(gates, wrong, strict=True)) / 3
    torch.testing.assert_close(error, torch.as_tensor(expected))
    error.backward()
    assert all(head.gate.weight.grad.any() and head.pooler.weight.grad.any() for head in heads)
    assert all(linear.weight.grad is None for head in heads for linear in head.linears)
    assert training.passed.backbone.model.blocks[0].attn.qkv.weight.grad.any()  # not detached, as in the original


@pytest.mark.parametrize(
    ("step", "learns"), [(0, {"final": True, "early": False}), (1, {"final": False, "early": True})]
)
def test_berxits_alternating_steps_are_complementary_and_both_train_the_gate(
    step: int, learns: dict[str, bool]
) -> None:
    training = gated(step)
    loss = JointCrossEntropy(reduction="sum", alternate="step", final_in_turn=False)
    terms = loss(training)
    terms["total"].backward()
    final = training.passed.backbone.model.head.weight.grad is not None
    early = any(linear.weight.grad is not None for head in training.exit_heads.in_order for linear in head.linears)
    assert {"final": final, "early": early} == learns
    assert all(head.gate.weight.grad.any() for head in training.exit_heads.in_order)
    expected = terms["final_cross_entropy"] if step == 0 else 3 * terms["cross_entropy"]
    torch.testing.assert_close(terms["total"], expected + terms["gate_error"])


def test_gates_learn_on_a_frozen_backbone_too() -> None:
    training = small()
    heads = ExitHeads((2, 6), [LinearHead(32, 5, 7, 1, gate=True) for _ in range(2)])
    terms = SelfDistillation(weight=0.0)(replace(training, exit_heads=heads))
    torch.testing.assert_close(terms["total"], terms["cross_entropy"] + terms["gate_error"])


def test_the_final_exit_must_be_trained() -> None:
    with pytest.raises(ValueError, match="joint-cross-entropy"):
        JointCrossEntropy(final_in_turn=False)
