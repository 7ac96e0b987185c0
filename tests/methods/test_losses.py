"""The loss terms equal the official ones up to the documented normalisation; only the intended modules have gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmark.registry import configured, table
from methods.heads.gah import GlobalAggregationHead
from methods.heads.jei import JEIHead
from methods.heads.linear import LinearHead
from methods.heads.lph import LocalPerceptionHead
from methods.losses.joint_cross_entropy import JointCrossEntropy
from methods.losses.self_distillation import SelfDistillation, groups_of
from methods.losses.terms import channel_divergence, distillation, gram_distance
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, backbone_pass
from methods.tasks import get_task
from tests.conftest import DATA


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(DATA / "losses.safetensors")


def test_distillation_is_the_official_loss_times_the_number_of_classes(golden: dict[str, torch.Tensor]) -> None:
    student, teacher = golden["kd/student"], golden["kd/teacher"]
    official = golden["kd/T2_loss"] * student.shape[1]  # the official code divides by batch x classes
    torch.testing.assert_close(distillation(student, teacher, 2.0), official, rtol=1e-5, atol=0)


@pytest.mark.parametrize("grid", ["g7", "g14"])
@pytest.mark.parametrize(("feature", "target", "name"), [
    ("conv_a", "teacher", "hete_conv"), ("attn_r2", "down_r2", "hete_r2"), ("attn_r3", "down_r3", "hete_r3"),
])  # fmt: skip
def test_heterogeneous_is_the_official_one_per_token(
    golden: dict[str, torch.Tensor], grid: str, feature: str, target: str, name: str
) -> None:
    student, teacher = golden[f"{grid}/{feature}"], golden[f"{grid}/{target}"]
    official = golden[f"{grid}/{name}"] / student.shape[1]
    torch.testing.assert_close(channel_divergence(student, teacher), official, rtol=1e-5, atol=0)


@pytest.mark.parametrize("grid", ["g7", "g14"])
def test_homogeneous_terms_equal_the_official_ones(golden: dict[str, torch.Tensor], grid: str) -> None:
    local = torch.nn.functional.mse_loss(golden[f"{grid}/conv_a"], golden[f"{grid}/conv_b"])
    torch.testing.assert_close(local, golden[f"{grid}/homo_conv"], rtol=1e-5, atol=0)
    first, second = golden[f"{grid}/attn_r2"], golden[f"{grid}/attn_r3"]
    torch.testing.assert_close(
        gram_distance(first, second, per_token=False), golden[f"{grid}/homo_attn"], rtol=1e-5, atol=0
    )
    # The distance per token is that of features divided by the square root of the number of tokens.
    scaled = gram_distance(first * first.shape[1] ** 0.5, second * second.shape[1] ** 0.5)
    torch.testing.assert_close(scaled, golden[f"{grid}/homo_attn"], rtol=1e-5, atol=0)


def small(seed: int = 0, dtype: torch.dtype = torch.float32) -> TrainingPass:
    """Five heads on the nano ViT, which has random weights: two LPHs, a linear head, two GAHs."""
    torch.manual_seed(seed)
    card = table("backbone")["vit_nano_patch4_28"]
    backbone = card.load()(card.architecture, 5).eval().to(dtype)
    heads = [
        LocalPerceptionHead(32, 5, 7, 1), LocalPerceptionHead(32, 5, 7, 1, kernel=0), LinearHead(32, 5, 7, 1),
        GlobalAggregationHead(32, 5, 7, 1), GlobalAggregationHead(32, 5, 7, 1, stride=3),
    ]  # fmt: skip
    exits = ExitHeads((2, 4, 6, 8, 10), heads).to(dtype)
    with torch.no_grad():
        passed = backbone_pass(backbone, torch.randn(6, 1, 28, 28, dtype=dtype), exits.exits)
    return TrainingPass(get_task("classification"), exits, passed, torch.arange(6) % 5)


def test_total_is_the_documented_sum_of_the_raw_terms() -> None:
    terms = SelfDistillation(heterogeneous_weight=0.01, homogeneous_weight=0.02)(small())
    total = 0.7 * terms["cross_entropy"] + 0.3 * terms["distillation"]
    total = total + 0.01 * terms["heterogeneous"] + 0.02 * terms["homogeneous"]
    torch.testing.assert_close(terms["total"], total)
    assert all(terms[name].item() > 0 for name in ("cross_entropy", "distillation", "heterogeneous", "homogeneous"))


def test_official_sums_equal_the_reference() -> None:
    """The official loss of stage 2, step by step. In double precision, because divergences of similar features cancel."""
    training = small(dtype=torch.float64)
    loss = SelfDistillation(
        heterogeneous_weight=0.01, homogeneous_weight=0.01, teacher_norm="none", reduction="sum",
        kd_divisor="elements", feature_divisor="none", detach_group_teacher=False,
    )  # fmt: skip
    terms = loss(training)
    logits, features = training.outputs.logits, training.outputs.features
    last = training.passed.last
    teacher = training.passed.backbone.model.head(last.values[:, 0])  # no norm before it
    batch, classes = teacher.shape
    soft_teacher = (teacher / 2).softmax(-1)
    kd = sum(
        4 / (batch * classes) * (soft_teacher * (soft_teacher.log() - (z / 2).log_softmax(-1))).sum() for z in logits
    )
    cross_entropy = sum(-z.log_softmax(-1)[torch.arange(batch), training.labels].mean() for z in logits)
    patches, every_second, every_third = last.patches, last.map[:, :, ::2, ::2], last.map[:, :, ::3, ::3]
    targets = [patches, patches, *(grid.flatten(2).transpose(1, 2) for grid in (every_second, every_third))]
    hete = torch.zeros((), dtype=torch.float64)
    for feature, target in zip((features[0], features[1], features[3], features[4]), targets, strict=True):
        soft = target.softmax(-1)
        hete = hete + (soft * (soft.log() - feature.log_softmax(-1))).sum() / batch
    gram = [feature.transpose(1, 2) @ feature for feature in (features[3], features[4])]
    homo = ((features[0] - features[1]) ** 2).mean() + ((gram[0] - gram[1]) ** 2).mean()
    for name, expected in (
        ("cross_entropy", cross_entropy), ("distillation", kd), ("heterogeneous", hete), ("homogeneous", homo),
        ("total", 0.7 * cross_entropy + 0.3 * kd + 0.01 * hete + 0.01 * homo),
    ):  # fmt: skip
        torch.testing.assert_close(terms[name], torch.as_tensor(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("detached", "has_gradient"), [
    (True, [True, False, False, True, False]), (False, [True, True, False, True, True]),
])  # fmt: skip
def test_the_deepest_head_of_a_group_has_a_gradient_only_as_in_the_official_code(
    detached: bool, has_gradient: list[bool]
) -> None:
    training = small()
    SelfDistillation(homogeneous_weight=1.0, detach_group_teacher=detached)(training)["homogeneous"].backward()
    heads = training.exit_heads.in_order
    assert [any(p.grad is not None and p.grad.any() for p in head.parameters()) for head in heads] == has_gradient


def test_all_heads_with_a_token_map_can_have_feature_terms() -> None:
    training = small()
    loss = SelfDistillation(heterogeneous_weight=1.0, heterogeneous_exits="all")
    loss(training)["heterogeneous"].backward()
    heads = training.exit_heads.in_order
    has_gradient = [any(p.grad is not None and p.grad.any() for p in head.parameters()) for head in heads]
    assert has_gradient == [True, True, False, True, True]


def test_a_head_can_define_its_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalPerceptionHead, "group", "waves")
    monkeypatch.setattr(LocalPerceptionHead, "group_distance", "gram")
    training = small()
    assert groups_of(training.exit_heads) == {("waves", 32, 7): [0, 1], ("global", 32, 7): [3, 4]}
    features = training.outputs.features
    expected = (gram_distance(features[0], features[1]) + gram_distance(features[3], features[4])) / 2
    torch.testing.assert_close(SelfDistillation(homogeneous_weight=1.0)(training)["homogeneous"], expected)


def test_heads_without_a_token_map_have_no_feature_terms() -> None:
    training = small()
    linear = ExitHeads((6,), [training.exit_heads.in_order[2]])
    terms = SelfDistillation(heterogeneous_weight=1.0, homogeneous_weight=1.0)(replace(training, exit_heads=linear))
    assert terms["heterogeneous"] == terms["homogeneous"] == 0


def test_swins_head_groups_end_at_its_stages() -> None:
    """A head is compared only with heads and backbone tokens of the same width and grid."""
    card = table("backbone")["swin_nano_patch2_window7_28"]
    torch.manual_seed(0)
    backbone = card.load()(card.architecture, 5).eval()
    exits = (2, 4, 6, 8, 10)
    heads = ExitHeads(exits, [LocalPerceptionHead(card.dims[b - 1], 5, card.grids[b - 1], 0) for b in exits])
    assert groups_of(heads) == {("local", 24, 14): [0, 1], ("local", 48, 7): [2, 3, 4]}
    passed = backbone_pass(backbone, torch.randn(3, 1, 28, 28), exits)
    assert passed.stage_end(2).values.shape == (3, 14, 14, 24)
    assert passed.stage_end(6) is passed.last
    terms = SelfDistillation(heterogeneous_weight=1.0, homogeneous_weight=1.0)(
        TrainingPass(get_task("classification"), heads, passed, torch.tensor([0, 1, 2]))
    )
    assert terms["heterogeneous"] > 0
    assert terms["homogeneous"] > 0


@pytest.mark.parametrize(("norm", "official"), [("final", False), ("none", True), ("plain", False)])
def test_the_teacher_uses_the_configured_norm(norm: str, official: bool) -> None:
    training = small()
    backbone, last = training.passed.backbone, training.passed.last
    with torch.no_grad():
        backbone.model.norm.weight.mul_(3)
        logits = backbone.classify(last, norm=norm)  # type: ignore[arg-type]
        raw = backbone.model.head(last.values[:, 0])
        at_inference = backbone.model.forward_head(backbone.model.norm(last.values))
    assert torch.allclose(logits, raw) is official
    assert torch.allclose(logits, at_inference) is (norm == "final")


@pytest.mark.parametrize("loss", [SelfDistillation(), JointCrossEntropy()], ids=["self-distillation", "joint"])
def test_shares_of_classes_are_used_as_labels(loss: SelfDistillation | JointCrossEntropy) -> None:
    """One-hot shares equal labels; a mixture has the mixed cross-entropy, and its largest share is the label for accuracy."""
    training = replace(small(), label_smoothing=0.1)
    first, second = training.labels, training.labels.flip(0)
    one, other = (torch.nn.functional.one_hot(labels, 5).float() for labels in (first, second))
    terms = [loss(replace(training, labels=labels)) for labels in (first, one, second, 0.7 * one + 0.3 * other)]
    hard, soft, reverse, mixed = (term["cross_entropy"] for term in terms)
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(mixed, 0.7 * hard + 0.3 * reverse)
    assert terms[3]["accuracy"] == terms[0]["accuracy"]


def losses_of_all_methods() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every loss that a registered method trains with, in every regime: a readable name to (name, options)."""
    card, losses = table("backbone")["vit_nano_patch4_28"], {}
    for name in table("method"):
        for regime in ("frozen", "joint", "alternating", "mixed", "alternating-frozen"):
            try:
                method = configured("method", name, {"regime": regime})
            except ValueError:  # a method without regimes
                method = configured("method", name, {})
            for stage in method.stages(card):
                options = dict(stage.loss.options)
                losses[f"{stage.loss.name} {sorted(options.items())}"] = (stage.loss.name, options)
    return losses


@pytest.mark.parametrize("loss", losses_of_all_methods().values(), ids=losses_of_all_methods().keys())
def test_every_term_is_a_mean_over_samples(loss: tuple[str, dict[str, Any]]) -> None:
    """Parts of a batch with different sizes, weighted by their images, have the loss of the whole batch."""
    training = small()
    gated = ExitHeads((3, 9), [LinearHead(32, 5, 7, 1, gate=True) for _ in range(2)])
    images, compute = torch.randn(6, 1, 28, 28), configured("loss", loss[0], loss[1])
    cases = [(training.exit_heads.eval(), 1), (gated, 1)]
    if (
        loss[0] == "jei"
    ):  # the warm-up and a turn of the heads; in a turn of the gates, weights follow the images of the pass
        heads = ExitHeads((3, 9), [JEIHead(32, 5, 7, 1) for _ in range(2)])
        cases = [(heads, 1), (heads, 650)]
    for exits, step in cases:

        def terms(part: slice, exits: ExitHeads = exits, step: int = step) -> dict[str, torch.Tensor]:
            for head in exits.in_order:
                head.bind(training.passed.backbone)
            passed = backbone_pass(training.passed.backbone, images[part], exits.exits)
            return compute(
                TrainingPass(
                    get_task("classification"),
                    exits,
                    passed,
                    training.labels[part],
                    step=step,
                    forward=1,
                    label_smoothing=0.1,
                    total_steps=1000,
                )
            )

        whole, first, second = terms(slice(6)), terms(slice(4)), terms(slice(4, 6))
        assert whole.keys() == first.keys() == second.keys()
        for name, value in whole.items():
            torch.testing.assert_close(4 / 6 * first[name] + 2 / 6 * second[name], value, rtol=2e-5, atol=1e-6)
