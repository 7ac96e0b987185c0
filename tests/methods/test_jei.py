"""JEI-DNN: gates, targets and losses by hand, turns of heads and gates, and dynamic inference equal to the stored scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.measure.agreement import dynamic_agreement
from benchmark.measure.finished import load_model
from benchmark.measure.price import price
from methods.backbones import BACKBONES
from methods.backbones.backbone import BlockBackbone
from methods.heads.jei import JEIHead, gate_features
from methods.jei_dnn import JEIDNN
from methods.lgvit import LGViT
from methods.losses.jei import JEILoss, exit_probabilities, gate_targets, head_loss
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, backbone_pass
from methods.policies.jei import JEI
from methods.tasks import get_task
from methods.tokens import Tokens
from results.store.folder import Store
from tests.trained_runs import scored_test_images, write_trained_run

NANO = "vit_nano_patch4_28"


@pytest.mark.parametrize(("gates", "probabilities", "shares", "exit_"), [
    ((0.3, 0.5, 0.4), (0.3, 0.5, 0.2), (0.3, 0.714286, 1), 1),
    ((0.6, 0.2, 0.9), (0.6, 0.2, 0.2), (0.6, 0.5, 1), 0),
    ((0.2, 0.2, 0.2), (0.2, 0.2, 0.2), (0.2, 0.25, 0.333333), 3),
])  # fmt: skip
def test_gates_break_a_stick(
    gates: tuple[float, ...], probabilities: tuple[float, ...], shares: tuple[float, ...], exit_: int
) -> None:
    column = torch.tensor(gates)[:, None]
    torch.testing.assert_close(exit_probabilities(column)[:, 0], torch.tensor(probabilities))
    policy = JEI(threshold=0.5).with_context(errors=1 - column)
    logits = torch.zeros(4, 1, 3)
    torch.testing.assert_close(policy.signal(logits)[:, 0], torch.tensor(shares), atol=1e-6, rtol=0)
    assert policy.choose(logits)[0].item() == exit_


def test_a_used_up_stick_has_been_left() -> None:
    errors = torch.tensor([[0.0], [0.7], [0.9]])
    assert exit_probabilities(1 - errors)[:, 0].tolist() == [1, 0, 0]
    assert JEI(threshold=1.0).with_context(errors=errors).signal(torch.zeros(4, 1, 3))[:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("tradeoff", "stop", "targets"), [(0, 2, [0, 0]), (0.15, 2, [0, 0]), (0.7, 1, [0, 1]), (2, 1, [0, 1])]
)
def test_targets_of_the_gates(tradeoff: float, stop: int, targets: list[int]) -> None:
    losses, costs = torch.tensor([[1.2], [0.5], [0.3]]), torch.tensor([0.25, 0.5, 1])
    gates, stops = gate_targets(losses, costs, tradeoff)
    assert (stops.tolist(), gates[:, 0].tolist()) == ([stop], targets)


def test_the_released_loss_of_the_heads_is_their_mean_and_the_detached_one_is_weighted() -> None:
    losses, probabilities = torch.tensor([[1.2], [0.5]], requires_grad=True), torch.tensor([[0.5], [0.3]])
    weighted = probabilities * losses
    released = (weighted * (losses.sum() / weighted.sum())).mean()
    assert weighted.sum().item() == pytest.approx(0.75)
    assert (losses.sum() / weighted.sum()).item() == pytest.approx(2.266667)
    torch.testing.assert_close(released, torch.tensor(0.85))
    (gradient,) = torch.autograd.grad(released, losses)
    torch.testing.assert_close(gradient, torch.full((2, 1), 0.5))
    detached = head_loss(losses, probabilities)
    torch.testing.assert_close(detached, torch.tensor(0.85))
    (gradient,) = torch.autograd.grad(detached, losses)
    torch.testing.assert_close(gradient, probabilities * 2.266667 / 2)


def test_an_image_whose_exits_are_certain_adds_nothing_to_the_loss_of_the_heads() -> None:
    losses = torch.tensor([[0.0, 1.2], [5, 0.5]], requires_grad=True)
    loss = head_loss(losses, torch.tensor([[1, 0.5], [0, 0.3]]))
    torch.testing.assert_close(loss, torch.tensor(0.85 / 2))
    (gradient,) = torch.autograd.grad(loss, losses)
    torch.testing.assert_close(gradient, torch.tensor([[0, 0.5], [0, 0.3]]) * 2.266667 / 4)


def test_features_of_a_gate() -> None:
    features = gate_features(torch.tensor([[0.7, 0.2, 0.1]], requires_grad=True).log())
    torch.testing.assert_close(features, torch.tensor([[0.7, 0.801819, 0.5, 0.354829]]), atol=1e-6, rtol=0)
    assert not features.requires_grad


@pytest.fixture(scope="module")
def backbone() -> BlockBackbone:
    torch.manual_seed(0)
    built: BlockBackbone = BACKBONES[NANO].load()(BACKBONES[NANO].architecture, 10)
    torch.nn.init.normal_(built.model.norm.weight)
    return built.eval().requires_grad_(False)


def a_pass(backbone: BlockBackbone, step: int) -> TrainingPass:
    torch.manual_seed(1)
    heads = ExitHeads((3, 6, 9), [JEIHead(32, 10, 7, 1) for _ in range(3)])
    passed = backbone_pass(backbone, torch.randn(6, 1, 28, 28), heads.exits)
    return TrainingPass(get_task("classification"), heads, passed, torch.arange(6), step=step, total_steps=10)


def gradients(training: TrainingPass, loss: JEILoss) -> tuple[dict[str, Tensor], set[str]]:
    terms = loss(training)
    terms["total"].backward()
    named = training.exit_heads.named_parameters()
    return terms, {name.split(".")[2] for name, parameter in named if parameter.grad is not None}


def test_heads_warm_up_and_then_gates_and_heads_take_turns(backbone: BlockBackbone) -> None:
    parts = [gradients(a_pass(backbone, step), JEILoss(warmup=0.4, interval=2))[1] for step in range(10)]
    assert parts == [{"linear"}] * 4 + [{"gate"}] * 2 + [{"linear"}] * 2 + [{"gate"}] * 2
    training = a_pass(backbone, 0)
    terms, _ = gradients(training, JEILoss())
    each = [F.cross_entropy(logits, training.labels) for logits in training.outputs.logits]
    torch.testing.assert_close(terms["total"], 4 * each[0] + 3 * each[1] + 2 * each[2])


def test_the_loss_of_the_gates_weighs_rare_targets_by_at_most_5(backbone: BlockBackbone) -> None:
    training = a_pass(backbone, 5)
    terms, _ = gradients(training, JEILoss(tradeoff=1e6, warmup=0.4, interval=2))
    gates = torch.stack([
        head.gate_logit(logits) for head, logits in zip(training.exit_heads.in_order, training.outputs.logits, strict=True)
    ])  # fmt: skip
    weights = torch.tensor([0.0, 5, 5])[:, None]  # at this price all six images stop at the first exit
    torch.testing.assert_close(terms["total"], (weights * F.softplus(-gates)).mean())


def test_the_two_weightings_have_equal_values_and_other_gradients(backbone: BlockBackbone) -> None:
    values, weights = {}, {}
    for weighting in ("detached", "uniform"):
        training = a_pass(backbone, 9)
        loss = JEILoss(warmup=0.0, interval=1, weighting=weighting)  # type: ignore[arg-type]
        values[weighting] = gradients(training, loss)[0]["total"]
        weights[weighting] = training.exit_heads.in_order[0].linear.weight.grad
    torch.testing.assert_close(values["detached"], values["uniform"])
    assert not torch.allclose(weights["detached"], weights["uniform"], rtol=1e-3)


def test_the_head_reads_the_backbones_norm_and_costs_its_classifier_and_gate(backbone: BlockBackbone) -> None:
    head = JEIHead(32, 10, 7, 1)
    tokens = Tokens(torch.randn(2, 50, 32), 7, 1)
    with pytest.raises(ValueError, match="jei"):
        head(tokens)
    head.bind(backbone)
    expected = head.linear(backbone.model.norm(tokens.values)[:, 0])
    torch.testing.assert_close(head(tokens)[0], expected)
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"linear", "gate"}
    costs = price(NANO, JEIDNN(), (3, 6), 10)
    assert costs.heads == (32 * 10 + 4, 32 * 10 + 4, 32 * 10)
    assert costs.cumulative[-1] == costs.stem + sum(costs.blocks) + sum(costs.heads)


def test_gates_on_the_heads_of_another_method_cost_only_the_gates() -> None:
    plain, gated = (price(NANO, method, (3, 6), 10) for method in (LGViT(), JEIDNN(base="lgvit")))
    assert [more - less for more, less in zip(gated.heads, plain.heads, strict=True)] == [4, 4, 0]
    assert gated.heads_parameters - plain.heads_parameters == 2 * 5


@pytest.mark.parametrize("options", [{}, {"base": "lgvit"}])
def test_a_finished_run_answers_as_its_scores(tmp_path: Path, options: dict[str, str]) -> None:
    record = write_trained_run(tmp_path, method="jei-dnn", samples=30, policies=("confidence", "jei"), options=options)
    store = Store(tmp_path)
    scores, pixels = scored_test_images(store, record)
    assert scores.errors is not None
    policy = JEI(threshold=float((1 - scores.errors[0]).median()))
    check = dynamic_agreement(load_model(store, record, torch.device("cpu")), policy, pixels, scores)
    assert check.within()
    assert {point.policy for point in record.points} == {"confidence", "jei"}


@pytest.mark.parametrize("options", [
    {"regime": "joint"}, {"kd_weight": 0.3}, {"feature_terms": True}, {"interval": 0}, {"warmup": 1}, {"tradeoff": -1},
])  # fmt: skip
def test_options_that_it_does_not_have_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        JEIDNN(**options)  # type: ignore[arg-type]
