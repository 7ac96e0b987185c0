"""Every registered backbone: its card is correct, and looping over its blocks is its own forward pass."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.registry import table
from methods.api import BackboneCard, Normalisation
from methods.backbones.backbone import BlockBackbone
from methods.backbones.cards import truncated
from methods.backbones.normalisation import NORMALISATIONS
from methods.backbones.vit import ViT

BACKBONES = table("backbone")
SMALL = [name for name, card in BACKBONES.items() if card.image_size < 224]


def built(name: str, blocks: int | None = None) -> BlockBackbone:
    card = truncated(BACKBONES[name], blocks or BACKBONES[name].depth)
    torch.manual_seed(0)
    return card.load()(card.architecture, 10).eval()


def images(name: str, count: int) -> torch.Tensor:
    card = BACKBONES[name]
    return torch.randn(count, card.channels, card.image_size, card.image_size)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_card_is_correct(name: str) -> None:
    """On the device ``meta``, which computes shapes alone."""
    card = BACKBONES[name]
    with torch.device("meta"), torch.no_grad():
        backbone, batch = built(name), images(name, 2)
        assert backbone.depth == card.depth == len(card.dims) == len(card.grids) == len(card.attention_heads)
        tokens = backbone.embed(batch)
        for number in range(1, card.depth + 1):
            tokens = backbone.block(number, tokens)
            assert tokens.map.shape == (2, card.dims[number - 1], card.grids[number - 1], card.grids[number - 1])
            assert tokens.class_tokens.shape[1] == card.class_tokens
            assert backbone.stage_end(number) == card.stage_end(number)
    modules = dict(backbone.named_modules(prefix="backbone"))
    for number, names in enumerate(backbone.block_names(), start=1):
        attention = next(m for n in names for m in modules[n].modules() if hasattr(m, "num_heads"))
        assert attention.num_heads == card.attention_heads[number - 1]
    assert all(name in modules for name in backbone.classifier_names())


@pytest.mark.parametrize("name", BACKBONES)
def test_the_block_loop_equals_timms_forward(name: str) -> None:
    """Of a large backbone the first blocks, with the first patch merging of a Swin."""
    backbone, batch = built(name, None if name in SMALL else 3), images(name, 2)
    with torch.no_grad():
        torch.testing.assert_close(backbone(batch), backbone.model(batch), atol=1e-5, rtol=0)


def test_normalisations_are_those_of_timms_pretrained_configurations() -> None:
    tags = {
        tag for card in BACKBONES.values() if card.weights for tag in timm.list_pretrained(architecture(card) + ".*")
    }
    for tag in tags:
        config = timm.get_pretrained_cfg(tag)
        assert NORMALISATIONS[tag] == Normalisation(mean=tuple(config.mean), std=tuple(config.std)), tag
    assert set(NORMALISATIONS) == tags
    for card in BACKBONES.values():
        assert card.normalisation == (NORMALISATIONS[card.weights] if card.weights else None)


def architecture(card: BackboneCard) -> str:
    return str(card.weights).partition(".")[0]


@pytest.mark.parametrize("name", SMALL)
def test_selecting_samples_commutes_with_the_blocks(name: str) -> None:
    backbone = built(name)
    keep = torch.tensor([True, False, True])
    with torch.no_grad():
        tokens = backbone.embed(images(name, 3))
        after = backbone.block(1, tokens).select(keep)
        before = backbone.block(1, tokens.select(keep))
    torch.testing.assert_close(after.values, before.values, atol=1e-5, rtol=0)


def test_a_swin_exit_at_the_end_of_a_stage_reads_that_stage() -> None:
    """The output of a stage's last block has its own width and grid: patch merging belongs to the next block."""
    backbone = built("swin_nano_patch2_window7_28")
    with torch.no_grad():
        tokens = backbone.embed(images("swin_nano_patch2_window7_28", 1))
        shapes = []
        for number in range(1, 6):
            tokens = backbone.block(number, tokens)
            shapes.append(tuple(tokens.values.shape[1:]))
    assert shapes == [(14, 14, 24)] * 4 + [(7, 7, 48)]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("blocks", [1, 4, 5, 11])
def test_a_truncated_backbone_is_the_first_blocks(name: str, blocks: int) -> None:
    card, backbone = truncated(BACKBONES[name], blocks), built(name, blocks)
    assert backbone.depth == card.depth == blocks
    assert card.dims == BACKBONES[name].dims[:blocks]
    with torch.no_grad():
        batch = images(name, 2)
        torch.testing.assert_close(backbone(batch), backbone.model(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("options", "prefix", "class_tokens"), [
    ({"reg_tokens": 4}, 5, 1), ({"class_token": False, "global_pool": "avg"}, 0, 0),
    ({"class_token": False, "reg_tokens": 4, "global_pool": "avg"}, 4, 0), ({"init_values": 0.1, "pre_norm": True}, 1, 1),
    ({"global_pool": "avg", "fc_norm": True}, 1, 1), ({"no_embed_class": True, "reg_tokens": 2}, 3, 1),
])  # fmt: skip
def test_prefix_tokens_are_taken_from_any_timm_vit(options: dict[str, object], prefix: int, class_tokens: int) -> None:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=28, patch_size=7, in_chans=1, num_classes=10, embed_dim=32, depth=3, num_heads=2, **options
    )
    backbone, batch = ViT(model).eval(), torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        tokens = backbone.embed(batch)
        torch.testing.assert_close(backbone(batch), model(batch), atol=1e-5, rtol=0)
    assert tokens.prefix == prefix
    assert tokens.class_tokens.shape == (2, class_tokens, 32)
    assert tokens.patches.shape == (2, 16, 32)


def test_a_patch_grid_that_is_not_square_is_an_error() -> None:
    model = VisionTransformer(img_size=(28, 14), patch_size=7, in_chans=1, embed_dim=32, depth=1, num_heads=2)
    with pytest.raises(ValueError, match="square patch grid, and this backbone's is 4x2"):
        ViT(model)
