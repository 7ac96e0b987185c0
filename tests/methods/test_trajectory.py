"""Ten optimizer steps of the heads' training equal a second, plain implementation of the official code's formulas.

The formulas are those of the official LGViT code for eight exits on a ViT, written out for this test: the loss of stage 2, and
AdamW with a linear schedule. The heads themselves equal the official ones by `tests/methods/test_heads.py`.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import registry
from benchmark.training.backbone import build_backbone
from benchmark.training.heads import build_heads
from benchmark.training.optimizer import learning_rate, make_optimizer
from methods.losses.training_pass import TrainingPass
from methods.model import BackbonePass, ExitHeads, backbone_pass
from methods.tasks import get_task
from results.spec import Configured, Recipe, Recipes, TrainSpec

EXITS = (4, 5, 6, 7, 8, 9, 10, 11)
STEPS = 10
TEMPERATURE, ALPHA, BETA = 2.0, 0.3, 0.01


def plain_loss(heads: ExitHeads, passed: BackbonePass, labels: Tensor) -> Tensor:
    outputs = heads(passed.tokens)
    features, last = outputs.features, passed.last.values
    teacher = passed.backbone.model.head(last[:, 0])  # the class token, without the final norm
    tokens = last[:, 1:]
    side = int(tokens.shape[1] ** 0.5)

    def subsampled(stride: int) -> Tensor:
        grid = tokens.reshape(len(tokens), side, side, -1)[:, ::stride, ::stride]
        return grid.reshape(len(tokens), -1, tokens.shape[2])

    def divergence(student: Tensor, target: Tensor) -> Tensor:
        p = target.softmax(-1)
        return (p * (p.log() - student.log_softmax(-1))).sum() / len(student)

    def soft(logits: Tensor) -> Tensor:
        p = (teacher / TEMPERATURE).softmax(-1)
        return TEMPERATURE**2 * (p * (p.log() - (logits / TEMPERATURE).log_softmax(-1))).sum() / p.numel()

    def gram(feature: Tensor) -> Tensor:
        return torch.einsum("bnc,bnd->bcd", feature, feature)

    hard = sum(F.cross_entropy(logits, labels) for logits in outputs.logits)
    distilled = sum(soft(logits) for logits in outputs.logits)
    heterogeneous = divergence(features[0], tokens) + divergence(features[3], tokens)
    heterogeneous += divergence(features[7], subsampled(3)) + divergence(features[4], subsampled(2))
    local = sum(((features[k] - features[3]) ** 2).mean() for k in range(3))
    attention = sum(((gram(features[k]) - gram(features[7])) ** 2).mean() for k in range(4, 7))
    return (1 - ALPHA) * hard + ALPHA * distilled + BETA * heterogeneous + BETA * (local + attention)


def plain_step(parameters: list[Tensor], moments: list[tuple[Tensor, Tensor]], rate: float, number: int) -> None:
    """AdamW with betas 0.9 and 0.999, epsilon 1e-8 and no weight decay."""
    for parameter, (mean, square) in zip(parameters, moments, strict=True):
        assert parameter.grad is not None
        mean.mul_(0.9).add_(parameter.grad, alpha=0.1)
        square.mul_(0.999).addcmul_(parameter.grad, parameter.grad, value=0.001)
        denominator = (square / (1 - 0.999**number)).sqrt() + 1e-8
        parameter.data -= rate * (mean / (1 - 0.9**number)) / denominator
        parameter.grad = None


def test_stage_two_of_the_official_reading() -> None:
    recipe = Recipe(epochs=1, lr=5e-3, weight_decay=0.0, warmup=0.0, schedule="linear")
    train = TrainSpec(
        dataset=Configured(name="fashion-mnist-mini"), backbone="vit_nano_patch4_28", seed=0, recipes=Recipes(),
        method=Configured(name="lgvit-official"), exits=EXITS,
    )  # fmt: skip
    torch.manual_seed(0)
    backbone, heads = build_backbone(train).double().eval(), build_heads(train).double().train()
    plain_heads = copy.deepcopy(heads)
    method = registry.configured("method", "lgvit-official", {})
    card = registry.card("backbone", train.backbone)
    component = method.heads_stage(card).loss
    loss = registry.configured("loss", component.name, component.options)
    optimizer = make_optimizer(heads, recipe)
    parameters = list(plain_heads.parameters())
    moments = [(torch.zeros_like(parameter), torch.zeros_like(parameter)) for parameter in parameters]
    for step in range(STEPS):
        images, labels = torch.randn(6, 1, 28, 28, dtype=torch.float64), torch.randint(0, 10, (6,))
        with torch.no_grad():
            passed = backbone_pass(backbone, images, list(EXITS))
        rate = learning_rate(recipe, step, STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        total = loss(TrainingPass(get_task("classification"), heads, passed, labels, step, step, 0.0, STEPS))["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        plain_total = plain_loss(plain_heads, passed, labels)
        plain_total.backward()
        plain_step(parameters, moments, 5e-3 * (1 - step / STEPS), step + 1)
        assert total.item() == pytest.approx(plain_total.item(), rel=1e-10)
    for ours, plain in zip(heads.parameters(), plain_heads.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10)
