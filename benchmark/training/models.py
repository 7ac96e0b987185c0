"""Models of a run: built with named seeds, and loaded from the artifacts of its stages."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from benchmark import registry
from benchmark.errors import UserError
from benchmark.seeds import seed_for
from benchmark.stages.graph import heads_of
from methods.api import BackboneCard, Choice
from methods.backbones import truncated
from methods.backbones.backbone import BlockBackbone
from methods.backbones.pretrained import load_pretrained
from methods.heads.head import ExitHead
from methods.model import ExitHeads
from results.spec import TrainSpec

BACKBONE_WEIGHTS = "backbone.safetensors"
HEADS_WEIGHTS = "heads.safetensors"


def classes_of(train: TrainSpec) -> int:
    return len(registry.card("dataset", train.dataset.name).classes)


def build_backbone(train: TrainSpec, blocks: int | None = None) -> BlockBackbone:
    """The backbone, or its first ``blocks`` blocks, with initial weights that depend on its name and the seed."""
    card = registry.card("backbone", train.backbone)
    if blocks is not None:
        card = truncated(card, blocks)
    torch.manual_seed(seed_for("backbone", train.seed, train.backbone))
    return card.load()(card.architecture, classes_of(train))


def initial_backbone(train: TrainSpec, blocks: int, weights: Path | None, *, as_it_stands: bool) -> BlockBackbone:
    """`build_backbone`, then the pretrained weights, if the run names any.

    Args:
        weights: their file.
        as_it_stands: no training follows, so the weights must hold the final classifier, too.

    Raises:
        UserError: the file does not fit the backbone; every misfit is named.
    """
    backbone = build_backbone(train, blocks)
    if weights is None:
        return backbone
    try:
        tensors = load_file(weights)
        load_pretrained(
            backbone,
            tensors,
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


def build_heads(train: TrainSpec) -> ExitHeads:
    """The heads of a run; a head's initial weights depend on the seed, its block, its kind and its options alone.

    Raises:
        ValueError: a head does not fit the backbone.
    """
    card = registry.card("backbone", train.backbone)
    heads = []
    for block, choice in zip(train.exits, heads_of(train), strict=True):
        options = dict(choice.options)
        torch.manual_seed(seed_for("head", train.seed, block, choice.name, json.dumps(options, sort_keys=True)))
        heads.append(make_head(choice, block, card, classes_of(train)))
    return ExitHeads(train.exits, heads)


def make_head(choice: Choice, block: int, card: BackboneCard, classes: int) -> ExitHead:
    """The head that fits the tokens after a block.

    Raises:
        ValueError: it does not fit them.
    """
    cls = registry.card("head", choice.name).load()
    return cls(card.dims[block - 1], classes, card.grids[block - 1], card.class_tokens, **choice.options)


def load_heads(train: TrainSpec, weights: Path, device: torch.device) -> ExitHeads:
    """The trained heads, in evaluation mode."""
    heads = build_heads(train)
    heads.load_state_dict(load_file(weights))
    return heads.to(device).eval()
