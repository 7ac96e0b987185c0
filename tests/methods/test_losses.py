"""The loss terms are the official ones up to their stated normalisation, and teach only whom they should."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from methods.heads.gah import GlobalAggregationHead
from methods.heads.linear import LinearHead
from methods.heads.lph import LocalPerceptionHead
from methods.losses import SelfDistillation, channel_divergence, distillation, gram_distance
from methods.model import BackbonePass, ExitHeads
from methods.tokens import Tokens
from tests.conftest import DATA


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(DATA / "losses.safetensors")


def test_distillation_is_the_official_one_times_the_classes(golden: dict[str, torch.Tensor]) -> None:
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
    # With the division by the token count taken back, the Gram distance is the official one.
    first, second = golden[f"{grid}/attn_r2"], golden[f"{grid}/attn_r3"]
    scaled = gram_distance(first * first.shape[1] ** 0.5, second * second.shape[1] ** 0.5)
    torch.testing.assert_close(scaled, golden[f"{grid}/homo_attn"], rtol=1e-5, atol=0)


def small_exits() -> tuple[ExitHeads, BackbonePass, torch.Tensor]:
    torch.manual_seed(0)
    heads = [
        LocalPerceptionHead(16, 5, 4, 1), LocalPerceptionHead(16, 5, 4, 1, kernel=0), LinearHead(16, 5, 4, 1),
        GlobalAggregationHead(16, 5, 4, 1), GlobalAggregationHead(16, 5, 4, 1, stride=3),
    ]  # fmt: skip
    tokens = {block: Tokens(torch.randn(6, 17, 16), 4, 1) for block in range(1, 7)}
    return ExitHeads(range(1, 6), heads), BackbonePass(tokens, torch.randn(6, 5), 6), torch.arange(6) % 5


def test_total_is_the_documented_sum_of_the_raw_terms() -> None:
    exits, teacher, labels = small_exits()
    loss = SelfDistillation(heterogeneous_weight=0.01, homogeneous_weight=0.02)
    terms = loss(list(exits.heads), exits(teacher.tokens), teacher, labels)
    total = 0.7 * terms["cross_entropy"] + 0.3 * terms["distillation"]
    total = total + 0.01 * terms["heterogeneous"] + 0.02 * terms["homogeneous"]
    torch.testing.assert_close(terms["total"], total)
    assert all(term.item() > 0 for term in terms.values())


def test_the_deepest_head_of_a_group_is_not_drawn_to_the_others() -> None:
    exits, teacher, _ = small_exits()
    loss = SelfDistillation(homogeneous_weight=1.0)
    loss.homogeneous(list(exits.heads), exits(teacher.tokens).features).backward()
    moved = [any(p.grad is not None and p.grad.any() for p in head.parameters()) for head in exits.heads]
    assert moved == [True, False, False, True, False]


def test_heads_without_a_token_map_have_no_feature_terms() -> None:
    torch.manual_seed(0)
    exits = ExitHeads((1,), [LinearHead(16, 5, 4, 1)])
    teacher = BackbonePass(
        {1: Tokens(torch.randn(3, 17, 16), 4, 1), 2: Tokens(torch.randn(3, 17, 16), 4, 1)}, torch.randn(3, 5), 2
    )
    terms = SelfDistillation(heterogeneous_weight=1.0, homogeneous_weight=1.0)(
        list(exits.heads), exits(teacher.tokens), teacher, torch.tensor([0, 1, 2])
    )
    assert terms["heterogeneous"] == terms["homogeneous"] == 0
