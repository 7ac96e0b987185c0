"""The backbone of a run: built with a named seed, started from pretrained weights, or loaded from a stage's artifact."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file

from benchmark import registry
from benchmark.errors import UserError
from benchmark.seeds import seed_for
from benchmark.weights import SCRATCH
from methods.backbones.backbone import BlockBackbone
from methods.backbones.card_check import card_mistakes
from methods.backbones.cards import truncated
from methods.backbones.pretrained import load_pretrained
from methods.tasks import get_task
from methods.tasks.task import Task
from results.spec import TrainSpec

BACKBONE_WEIGHTS = "backbone.safetensors"


def task_of(train: TrainSpec) -> Task:
    """The task of a run's dataset."""
    return get_task(registry.card("dataset", train.dataset.name).task)


def classes_of(train: TrainSpec) -> int:
    """The number of classes of a run's dataset."""
    return len(registry.card("dataset", train.dataset.name).classes)


@cache
def _check_outside(name: str, classes: int) -> None:
    """Compare the card of a backbone from an installed package with the model, at its first use in this process.

    Raises:
        UserError: the model cannot be built or run block by block, or the card says otherwise.
    """
    card = registry.card("backbone", name)
    with torch.random.fork_rng(devices=[]):
        try:
            mistakes = card_mistakes(card, card.load()(card.architecture, classes))
        except Exception as error:  # any error of the package's own code
            mistakes = [f"it cannot be run block by block ({type(error).__name__}: {error})"]
    if mistakes:
        raise UserError(f"backbone {name} of an installed package: {'; '.join(mistakes)}")


def build_backbone(train: TrainSpec, blocks: int | None = None) -> BlockBackbone:
    """The backbone, or its first ``blocks`` blocks. Its initial weights depend on its name and the run's seed."""
    card = registry.card("backbone", train.backbone)
    if registry.is_outside("backbone", train.backbone):
        _check_outside(train.backbone, classes_of(train))
    if blocks is not None:
        card = truncated(card, blocks)
    torch.manual_seed(seed_for("backbone", train.seed, train.backbone))
    return task_of(train).backbone(card.load(), card.architecture, classes_of(train))


def initial_backbone(train: TrainSpec, blocks: int, weights: Path | None, *, keep_classifier: bool) -> BlockBackbone:
    """`build_backbone` with the pretrained weights that the run names, if any.

    Args:
        train: the run.
        blocks: number of blocks to keep.
        weights: the file with the pretrained weights on this machine; None where it is not here.
        keep_classifier: no training follows, so the file must also contain the final classifier.

    Raises:
        UserError: the file is not on this machine, is not the one that the run names, or does not fit the backbone.
    """
    backbone = build_backbone(train, blocks)
    source = train.weights.source
    if source == SCRATCH:
        return backbone
    if weights is None:
        raise UserError(
            f"weights {source}: the file is not on this machine, and the run must not start from scratch instead"
        )
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise UserError(f"weights {source}: {weights} cannot be read ({error.strerror})") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != train.weights.sha256:
        raise UserError(
            f"weights {source}: the run was planned with SHA-256 {train.weights.sha256}, and {weights} has {digest}; "
            "plan the run again"
        )
    try:
        tensors = load(content)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"the tensor {name!r} contains NaN or infinite values")
        load_pretrained(
            backbone,
            tensors,
            truncated=blocks < registry.card("backbone", train.backbone).depth,
            keep_classifier=keep_classifier,
        )
    except (SafetensorError, ValueError) as error:
        raise UserError(f"weights {source} ({weights}) do not fit {train.backbone}: {error}") from None
    return backbone


def load_backbone(train: TrainSpec, blocks: int, weights: Path, device: torch.device) -> BlockBackbone:
    """The trained backbone, frozen: no gradients; dropout, drop-path and norms in evaluation mode."""
    backbone = build_backbone(train, blocks)
    backbone.load_state_dict(load_file(weights))
    return backbone.to(device).eval().requires_grad_(False)
