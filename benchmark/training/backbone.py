"""The backbone of a run: built with a named seed, started from pretrained weights, or loaded from a stage's artifact."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from benchmark import registry
from benchmark.errors import UserError
from benchmark.seeds import seed_for
from methods.backbones import truncated
from methods.backbones.backbone import BlockBackbone
from methods.backbones.pretrained import load_pretrained
from results.spec import TrainSpec

BACKBONE_WEIGHTS = "backbone.safetensors"


def classes_of(train: TrainSpec) -> int:
    """The number of classes of a run's dataset."""
    return len(registry.card("dataset", train.dataset.name).classes)


def build_backbone(train: TrainSpec, blocks: int | None = None) -> BlockBackbone:
    """The backbone, or its first ``blocks`` blocks. Its initial weights depend on its name and the run's seed."""
    card = registry.card("backbone", train.backbone)
    if blocks is not None:
        card = truncated(card, blocks)
    torch.manual_seed(seed_for("backbone", train.seed, train.backbone))
    return card.load()(card.architecture, classes_of(train))


def initial_backbone(train: TrainSpec, blocks: int, weights: Path | None, *, as_it_stands: bool) -> BlockBackbone:
    """`build_backbone` with the pretrained weights that the run names, if any.

    Args:
        train: the run.
        blocks: number of blocks to keep.
        weights: the file with the pretrained weights; None for random initial weights.
        as_it_stands: no training follows, so the file must also contain the final classifier.

    Raises:
        UserError: the file does not fit the backbone; the message names every mismatch.
    """
    backbone = build_backbone(train, blocks)
    if weights is None:
        return backbone
    try:
        load_pretrained(
            backbone,
            load_file(weights),
            truncated=blocks < registry.card("backbone", train.backbone).depth,
            keep_classifier=as_it_stands,
        )
    except (SafetensorError, ValueError) as error:
        raise UserError(f"weights {train.weights.source} ({weights}) do not fit {train.backbone}: {error}") from None
    return backbone


def load_backbone(train: TrainSpec, blocks: int, weights: Path, device: torch.device) -> BlockBackbone:
    """The trained backbone, frozen: no gradients; dropout, drop-path and norms in evaluation mode."""
    backbone = build_backbone(train, blocks)
    backbone.load_state_dict(load_file(weights))
    return backbone.to(device).eval().requires_grad_(False)
