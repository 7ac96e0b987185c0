"""Backbones of installed packages: cards are compared with the model, and what the block loop cannot run is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from timm.models.beit import Beit
from timm.models.cait import Cait
from timm.models.eva import Eva

from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from benchmark.training import backbone as training_backbone
from benchmark.training.backbone import build_backbone
from methods import lookup
from methods.api import BackboneCard
from methods.backbones.cards import vit
from methods.backbones.vit import ViT
from results.spec import TrainSpec
from tests.grids import write_grid

NANO = vit(image_size=28, patch_size=4, channels=1, width=32, attention_heads=2, depth=2, summary="")
MODELS = {"Beit": Beit, "Cait": Cait, "Eva": Eva}


def build_beit(architecture: Any, num_classes: int) -> ViT:
    return ViT(Beit(num_classes=num_classes, **architecture))


def build_cait(architecture: Any, num_classes: int) -> ViT:
    return ViT(Cait(num_classes=num_classes, **architecture))


def build_eva(architecture: Any, num_classes: int) -> ViT:
    return ViT(Eva(num_classes=num_classes, **architecture))


def train_on(card: BackboneCard, folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainSpec:
    """A run on a backbone that a package registers as ``outside``."""
    training_backbone._check_outside.cache_clear()
    monkeypatch.setattr(lookup, "registered_outside", lambda kind: {"outside": card} if kind == "backbone" else {})
    grid = write_grid(folder / "grid.yaml", backbones=["outside"], methods=["vanilla"], exits=[[1]])
    return load_grid(grid).runs[0].train


def test_a_true_card_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_backbone(train_on(NANO, tmp_path, monkeypatch)).depth == 2


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dims", (32, 48), "(32, 48)"),
        ("grids", (7, 14), "(7, 14)"),
        ("stages", (3,), "depth is 3"),
        ("prefix_tokens", 2, "is 2"),
    ],
)
def test_a_card_that_does_not_fit_its_model_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any, words: str
) -> None:
    train = train_on(replace(NANO, **{field: value}), tmp_path, monkeypatch)
    with pytest.raises(UserError) as refusal:
        build_backbone(train)
    assert len(refusal.value.messages) == 1
    assert "outside" in str(refusal.value)
    assert words in str(refusal.value)


@pytest.mark.parametrize("model", MODELS)
def test_models_that_do_not_run_block_by_block_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    card = replace(NANO, target=f"tests.benchmark.training.test_outside_backbones:build_{model.lower()}")
    with pytest.raises(UserError) as refusal:
        build_backbone(train_on(card, tmp_path, monkeypatch))
    assert f"{model} is not timm's VisionTransformer" in str(refusal.value)
