"""Trains backbone, final classifier and heads together, instead of the fine-tuning or after it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.stages.stage import Stage
from benchmark.training.backbone import task_of
from benchmark.training.heads import build_heads
from benchmark.training.inputs import Inputs
from benchmark.training.loop import Learner, Position
from benchmark.training.reduced import reduced
from datasets.loading import Batch
from methods.backbones.backbone import BlockBackbone
from methods.losses.training_pass import TrainingPass
from methods.model import MultiExitModel, backbone_pass


def joint_learner(stage: Stage, backbone: BlockBackbone, inputs: Inputs, device: torch.device) -> Learner:
    """The learner of a ``joint`` stage, which starts from a backbone with all tokens and new heads."""
    train, recipe, training = stage.run.train, stage.recipe, stage.training
    assert recipe is not None
    assert training is not None
    heads = build_heads(train)
    whole = reduced(backbone.requires_grad_(True), stage.reduction, heads)
    model = MultiExitModel(whole, heads, task_of(train)).to(device).train()
    loss = registry.configured("loss", training.loss.name, training.loss.options)
    steps_per_epoch = inputs.steps_per_epoch(recipe)
    total_steps = recipe.epochs * steps_per_epoch
    equilibrium = training.gradients == "equilibrium"

    def losses(batch: Batch, frozen: None, at: Position) -> dict[str, Tensor]:
        passed = backbone_pass(model.backbone, batch.images, train.head_blocks, equilibrium=equilibrium)
        heads = model.exit_heads
        return loss(
            TrainingPass(
                model.task, heads, passed, batch.labels, at.step, at.forward, recipe.label_smoothing, total_steps, batch.size
            )
        )  # fmt: skip

    return Learner(
        name=stage.name,
        module=model,
        losses=losses,
        recipe=recipe,
        seed=seed_for("joint", train.seed),
        steps_per_epoch=steps_per_epoch,
    )
