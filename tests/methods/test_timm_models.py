"""Backbones ``timm:NAME``: cards made from timm's models, the block loop, costs, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import registry
from benchmark.grid.load import load_grid
from benchmark.measure.cost import cost_table
from benchmark.training.heads import make_head
from methods.api import Component
from methods.backbones import timm_cards
from methods.backbones.cards import truncated
from methods.backbones.normalisation import IMAGENET
from methods.backbones.timm_cards import timm_card
from methods.model import ExitHeads, MultiExitModel
from methods.tasks import get_task
from tests.grids import write_grid

KINDS = {
    "vit_tiny_patch16_224": (1, 0, "vit"),
    "vit_small_patch14_reg4_dinov2": (5, 4, "vit"),  # registers, patches of 14, layer scale, 518 pixels
    "vit_little_patch16_reg1_gap_256": (1, 1, "vit"),  # no class token, average pooling, norms of queries and keys
    "vit_base_patch32_siglip_256": (0, 0, "vit"),  # attention pooling
    "vit_small_patch16_18x2_224": (1, 0, "vit"),  # parallel blocks
    "vit_tiny_r_s16_p8_224": (1, 0, "vit"),  # a small ResNet in place of the patch embedding
    "deit_tiny_distilled_patch16_224": (2, 0, "deit"),
    "deit3_small_patch16_224": (1, 0, "vit"),  # positions without the class token, layer scale
    "eva02_tiny_patch14_224": (1, 0, "eva"),
    "vit_small_patch16_rope_224": (1, 0, "eva"),
    "vit_small_patch16_rope_mixed_224": (1, 0, "eva"),  # rotary positions of each block's own
    "vit_small_patch16_dinov3": (5, 4, "eva"),
    "swin_s3_tiny_224": (0, 0, "swin"),  # windows of another size in each stage
    "swinv2_tiny_window8_256": (0, 0, "swin"),
}
"""Model to prefix tokens, registers and family."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of cards."""
    folder = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    timm_card.cache_clear()
    yield folder / timm_cards.FOLDER
    timm_card.cache_clear()


@pytest.mark.parametrize("name", KINDS)
def test_the_block_loop_equals_timms_forward_and_is_counted(name: str) -> None:
    """On the first blocks of each kind of model, with a head after the first."""
    card = registry.card("backbone", f"timm:{name}")
    assert (card.prefix_tokens, card.registers, card.family) == KINDS[name]
    depth = card.stages[0] + 1 if len(card.stages) > 1 else 2
    short = truncated(card, depth)
    torch.manual_seed(0)
    backbone = card.load()(short.architecture, 5).eval()
    images = torch.randn(1, card.channels, card.image_size, card.image_size)
    with torch.no_grad():
        tokens = backbone.embed(images)
        for number in range(1, depth + 1):
            tokens = backbone.block(number, tokens)
            assert tokens.map.shape == (1, card.dims[number - 1], *[card.grids[number - 1]] * 2)
            assert tokens.class_tokens.shape[1] == card.class_tokens
        torch.testing.assert_close(backbone.classify(tokens), backbone.model(images), atol=1e-5, rtol=0)
    head = make_head(Component("lph"), 1, card, 5, get_task("classification"))
    costs = cost_table(MultiExitModel(backbone, ExitHeads((1,), [head])), short)
    assert costs.cumulative[0] < costs.cumulative[1]
    assert costs.baseline == costs.stem + sum(costs.blocks) + costs.heads[-1]
    assert all(costs.blocks)


def test_a_card_says_what_the_whole_model_is() -> None:
    card = timm_card("timm:swin_tiny_patch4_window7_224")
    registered = registry.card("backbone", "swin_tiny_patch4_window7_224")
    for field in ("stages", "dims", "grids", "attention_heads", "prefix_tokens", "image_size", "channels", "weights"):
        assert getattr(card, field) == getattr(registered, field), field
    assert card.normalisation == IMAGENET


def test_a_card_is_made_once_and_then_read_without_torch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = timm_card("timm:deit_tiny_distilled_patch16_224")
    (file,) = cache.iterdir()
    timm_card.cache_clear()

    def refuse(module: str) -> Any:
        raise AssertionError(module)

    monkeypatch.setattr(timm_cards, "import_module", refuse)
    assert timm_card("timm:deit_tiny_distilled_patch16_224") == card
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache.parent))
    file.write_text(file.read_text().replace("methods.backbones.timm_models:build", "os:system"))  # damaged: made again
    timm_card.cache_clear()
    assert timm_card("timm:deit_tiny_distilled_patch16_224") == card


def test_a_grid_takes_the_models_own_weights_and_normalisation(tmp_path: Path) -> None:
    grid = write_grid(
        tmp_path / "grid.yaml", backbones=["timm:vit_tiny_patch16_224"], methods=["lgvit"], exits=["paper"]
    )
    (train,) = (run.train for run in load_grid(grid).runs)
    assert train.backbone == "timm:vit_tiny_patch16_224"
    assert train.weights.source == "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert train.weights.mean == (0.5, 0.5, 0.5)
    assert len(train.exits) == 8


def test_a_tag_names_other_weights() -> None:
    assert timm_card("timm:vit_tiny_patch16_224.augreg_in21k").weights == "vit_tiny_patch16_224.augreg_in21k"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cait_xxs24_224", ["timm:cait_xxs24_224", "Cait", "class token"]),
        ("beit_base_patch16_224", ["Beit", "relative positions"]),
        ("swinv2_cr_tiny_224", ["SwinTransformerV2Cr", "VisionTransformer", "Eva"]),
        ("resnet18", ["ResNet", "not supported"]),
        ("vit_tiny_patch16_225", ["no model", "vit_tiny_patch16_224"]),
        ("vit_tiny_patch16_224.augreg_in21", ["no weights", "augreg_in21k"]),
        ("hf-hub:someone/model", ["timm:NAME"]),
        ("", ["timm:NAME"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(cache: Path, name: str, words: list[str]) -> None:
    with pytest.raises(KeyError) as refusal:
        registry.card("backbone", f"timm:{name}")
    assert all(word in refusal.value.args[0] for word in words), refusal.value.args[0]
    assert not cache.exists()


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(KeyError) as error:
        timm_card("timm:" + "x" * 5000)
    assert len(str(error.value)) < 300
