"""Stage 1: the backbone and its final classifier, by cross-entropy. All methods on a backbone share it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from benchmark import registry
from benchmark.pipeline.fit import Learner
from benchmark.pipeline.inputs import Inputs
from benchmark.pipeline.stages import Stage
from benchmark.seeds import seed_for
from benchmark.spec import TrainSpec
from datasets.loading import Batch
from methods.backbones.backbone import BlockBackbone

WEIGHTS = "backbone.safetensors"


def build_backbone(train: TrainSpec) -> BlockBackbone:
    """The backbone with initial weights that depend on its name and the run's seed."""
    card = registry.card("backbone", train.backbone)
    classes = len(registry.card("dataset", train.dataset.name).classes)
    torch.manual_seed(seed_for("backbone", train.seed, train.backbone))
    return card.load()(card.architecture, classes)


def load_backbone(train: TrainSpec, weights: Path, device: torch.device) -> BlockBackbone:
    """The fine-tuned backbone, frozen: no gradients; dropout, drop-path and norms in evaluation mode."""
    backbone = build_backbone(train)
    backbone.load_state_dict(load_file(weights))
    return backbone.to(device).eval().requires_grad_(False)


def finetune_learner(stage: Stage, inputs: Inputs, device: torch.device) -> Learner:
    """The learner of a ``finetune`` stage."""
    train = stage.run.train
    recipe = train.recipes.finetune
    backbone = build_backbone(train).to(device).train()

    def losses(batch: Batch, frozen: None) -> dict[str, Tensor]:
        logits = backbone(batch.images)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=recipe.label_smoothing)
        return {"total": loss, "accuracy": (logits.argmax(-1) == batch.labels).float().mean()}

    return Learner(
        name=stage.name,
        module=backbone,
        losses=losses,
        recipe=recipe,
        seed=seed_for("finetune", train.seed),
        steps_per_epoch=inputs.steps_per_epoch(recipe),
    )
