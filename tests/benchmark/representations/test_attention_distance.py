"""Attention distances of made-up weights, and the weights of real blocks."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from benchmark import registry
from benchmark.representations.attention_distance import (
    attention_refusal,
    mean_distance,
    patch_distances,
    recorded_attention,
    uniform_distance,
)
from methods.backbones.backbone import BlockBackbone

BETWEEN = patch_distances(2, 4)
"""Of four patches of 4 x 4 pixels."""


def backbone(name: str) -> BlockBackbone:
    card = registry.card("backbone", name)
    torch.manual_seed(0)
    built: BlockBackbone = card.load()(card.architecture, 10)
    return built.eval()


def test_distances_are_between_the_centres_of_patches_in_pixels() -> None:
    assert BETWEEN[0].tolist() == pytest.approx([0, 4, 4, 4 * sqrt(2)])
    assert uniform_distance(BETWEEN) == pytest.approx((8 + 4 * sqrt(2)) / 4)


def test_known_weights_have_known_distances_whatever_the_class_token_gets() -> None:
    own, uniform, neighbour = torch.eye(4), torch.full((4, 4), 0.25), torch.eye(4)[[1, 0, 3, 2]]
    weights = torch.zeros(2, 3, 5, 5)
    weights[:, :, 0, 0] = 1  # the class token reads itself
    weights[:, :, 1:, 0] = 0.6  # every patch reads it
    weights[:, :, 1:, 1:] = 0.4 * torch.stack([own, uniform, neighbour])
    assert mean_distance(weights, BETWEEN, 1).tolist() == pytest.approx([0, uniform_distance(BETWEEN), 4])


@pytest.mark.parametrize("name", ["vit_nano_patch4_28", "deit_nano_distilled_patch4_28"])
@torch.no_grad()
def test_recorded_weights_are_those_that_the_block_uses(name: str) -> None:
    """Weights times values, projected, are the output of the block's attention."""
    model = backbone(name)
    assert attention_refusal(model) == ""
    tokens = model.embed(torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1)))
    for number in (1, 2):
        attention = model.model.blocks[number - 1].attn
        inputs = model.model.blocks[number - 1].norm1(tokens.values)
        values = attention.qkv(inputs).chunk(3, dim=-1)[2].unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        with recorded_attention(model) as recorded:
            tokens = model.block(number, tokens)
        output = attention.proj((recorded.values @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(output, attention(inputs))
    assert not attention.qkv._forward_hooks


def test_windows_are_refused_in_a_sentence() -> None:
    assert "windows" in attention_refusal(backbone("swin_nano_patch2_window7_28"))
