"""Every registered backbone: its card is true, and looping its blocks is its own forward pass."""

from __future__ import annotations

import pytest
import torch

from benchmark.registry import table

BACKBONES = table("backbone")


@pytest.mark.parametrize("name", BACKBONES)
def test_the_card_is_true(name: str) -> None:
    card = BACKBONES[name]
    torch.manual_seed(0)
    backbone = card.load()(card.architecture, 10).eval()
    assert backbone.depth == card.depth == len(card.dims) == len(card.grids)
    with torch.no_grad():
        tokens = backbone.embed(torch.randn(2, card.channels, card.image_size, card.image_size))
        for number in range(1, card.depth + 1):
            tokens = backbone.block(number, tokens)
            assert tokens.map.shape == (2, card.dims[number - 1], card.grids[number - 1], card.grids[number - 1])
            assert tokens.class_tokens.shape[1] == card.prefix_tokens


@pytest.mark.parametrize("name", BACKBONES)
def test_looping_the_blocks_is_timms_forward(name: str) -> None:
    card = BACKBONES[name]
    torch.manual_seed(0)
    backbone = card.load()(card.architecture, 10).eval()
    images = torch.randn(3, card.channels, card.image_size, card.image_size)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), backbone.model(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_selecting_samples_commutes_with_the_blocks(name: str) -> None:
    card = BACKBONES[name]
    torch.manual_seed(0)
    backbone = card.load()(card.architecture, 10).eval()
    keep = torch.tensor([True, False, True])
    with torch.no_grad():
        tokens = backbone.embed(torch.randn(3, card.channels, card.image_size, card.image_size))
        after = backbone.block(1, tokens).select(keep)
        before = backbone.block(1, tokens.select(keep))
    torch.testing.assert_close(after.values, before.values, atol=1e-5, rtol=0)
