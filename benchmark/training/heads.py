"""The exit heads of a run: built with named seeds, or loaded from a stage's artifact."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.stages.graph import heads_of
from benchmark.training.backbone import classes_of, task_of
from methods.api import BackboneCard, Component
from methods.heads.head import ExitHead
from methods.model import ExitHeads
from methods.tasks.task import Task
from results.spec import TrainSpec

HEADS_WEIGHTS = "heads.safetensors"


def build_heads(train: TrainSpec) -> ExitHeads:
    """The heads of a run. A head's initial weights depend only on the seed and on its block, kind and options.

    Raises:
        ValueError: a head does not fit the backbone.
    """
    card = registry.card("backbone", train.backbone)
    heads = []
    for block, choice in zip(train.head_blocks, heads_of(train), strict=True):
        options = dict(choice.options)
        torch.manual_seed(seed_for("head", train.seed, block, choice.name, json.dumps(options, sort_keys=True)))
        heads.append(make_head(choice, block, card, classes_of(train), task_of(train)))
    return ExitHeads(train.head_blocks, heads)


def make_head(choice: Component, block: int, card: BackboneCard, classes: int, task: Task) -> ExitHead:
    """A head that reads the tokens after a block.

    Raises:
        ValueError: the head does not fit these tokens.
    """
    cls = registry.card("head", choice.name).load()
    return task.head(cls, card.dims[block - 1], classes, card.grids[block - 1], card.class_tokens, choice.options)


def load_heads(train: TrainSpec, weights: Path, device: torch.device) -> ExitHeads:
    """The trained heads, in evaluation mode."""
    heads = build_heads(train)
    heads.load_state_dict(load_file(weights))
    return heads.to(device).eval()
