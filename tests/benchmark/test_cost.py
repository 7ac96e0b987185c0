"""The cost table equals the reference integers and torch's own counter."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.measure.cost import UncountedOperatorError, cost_table
from benchmark.registry import table
from methods.api import BackboneCard
from methods.backbones import vit
from methods.heads.head import ExitHead
from methods.model import ExitHeads, MultiExitModel
from methods.tokens import Tokens
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "cost_tables.json").read_text(encoding="utf-8"))["per_exit"]["ViT-B/16 (197 tokens)"]
VIT_B = vit(image_size=224, patch_size=16, channels=3, width=768, attention_heads=12, summary="")


def build(card: BackboneCard, method: str, exits: tuple[int, ...], classes: int) -> MultiExitModel:
    choices = table("method")[method].load()().heads(len(exits))
    heads = [
        table("head")[choice.name].load()(card.dims[0], classes, card.grids[0], card.prefix_tokens, **choice.options)
        for choice in choices
    ]
    return MultiExitModel(card.load()(card.architecture, classes), ExitHeads(exits, heads))


@pytest.fixture(scope="module")
def lgvit_b() -> MultiExitModel:
    return build(VIT_B, "lgvit", tuple(range(4, 12)), 100)


def test_vit_b_with_lgvit_heads_equals_the_reference_to_the_integer(lgvit_b: MultiExitModel) -> None:
    costs = cost_table(lgvit_b, VIT_B)
    for convention, found, baseline in (
        ("linconv_matmul", costs.cumulative, costs.baseline),
        ("linconv", costs.linear_conv_cumulative, costs.linear_conv_baseline),
    ):
        expected = [row["all_heads_so_far"] for row in GOLDEN[convention]["lgvit"]]
        assert list(found[: len(expected)]) == expected
        assert baseline == GOLDEN[convention]["M0"]
    assert costs.stem == GOLDEN["linconv_matmul"]["embed"]
    assert set(costs.blocks) == {GOLDEN["linconv_matmul"]["block"]}
    assert costs.heads[-1] == GOLDEN["linconv_matmul"]["final_classifier"]
    assert costs.parameters == 100_686_468  # of the authors' released model, without its unused pooler
    assert costs.norms > 0


def test_eleven_linear_heads_equal_the_reference() -> None:
    costs = cost_table(build(VIT_B, "vanilla", tuple(range(1, 12)), 100), VIT_B)
    expected = [row["all_heads_so_far"] for row in GOLDEN["linconv_matmul"]["linear11"]]
    assert list(costs.cumulative[: len(expected)]) == expected


@pytest.mark.parametrize("method", [name for name in table("method") if name != "static"])
def test_the_table_equals_torchs_own_counter(method: str) -> None:
    card = table("backbone")["vit_nano_patch4_28"]
    model = build(card, method, (2, 5, 8, 11), 10).eval()
    costs = cost_table(model, card)
    # On the meta device fused attention is decomposed, so this counter sees it too; it counts two FLOPs for a MAC.
    meta = model.to("meta")
    image = torch.zeros(1, card.channels, card.image_size, card.image_size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        meta(image)
    assert costs.cumulative[-1] == counter.get_total_flops() / 2


def test_fused_attention_is_not_free(lgvit_b: MultiExitModel) -> None:
    costs = cost_table(lgvit_b, VIT_B)
    assert costs.baseline / costs.linear_conv_baseline > 1.04


def test_an_operator_that_nobody_priced_is_an_error() -> None:
    class Strange(ExitHead):
        def forward(self, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
            feature = torch.cumsum(tokens.patches, dim=1).mean(1)
            return feature, feature

    card = table("backbone")["vit_nano_patch4_28"]
    model = MultiExitModel(card.load()(card.architecture, 32), ExitHeads((3,), [Strange(32, 32, 7, 1)]))
    with pytest.raises(UncountedOperatorError, match="cumsum"):
        cost_table(model, card)
