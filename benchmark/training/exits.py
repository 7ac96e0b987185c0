"""Trains the heads of one method on a frozen backbone. Methods on the same backbone share its forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmark import registry
from benchmark.seeds import seed_for
from benchmark.stages.stage import Stage
from benchmark.training.backbone import task_of
from benchmark.training.heads import build_heads
from benchmark.training.inputs import Inputs
from benchmark.training.loop import Learner, Position
from datasets.loading import Batch
from methods.backbones.backbone import BlockBackbone
from methods.losses.training_pass import TrainingPass
from methods.model import BackbonePass, ExitHeads, backbone_pass


def exits_learner(stage: Stage, heads: ExitHeads | None, inputs: Inputs, device: torch.device) -> Learner:
    """The learner of an ``exits`` stage. It reads the output of `frozen_pass`.

    Args:
        stage: to train.
        heads: the heads to start from; None for new ones.
        inputs: the data.
        device: of the heads.
    """
    train, recipe, training = stage.run.train, stage.recipe, stage.training
    assert recipe is not None
    assert training is not None
    task = task_of(train)
    modules = (heads or build_heads(train)).to(device).train()
    loss = registry.configured("loss", training.loss.name, training.loss.options)
    steps_per_epoch = inputs.steps_per_epoch(recipe)
    total_steps = recipe.epochs * steps_per_epoch

    def losses(batch: Batch, frozen: BackbonePass, at: Position) -> dict[str, Tensor]:
        return loss(
            TrainingPass(
                task, modules, frozen, batch.labels, at.step, at.forward, recipe.label_smoothing, total_steps, batch.size
            )
        )  # fmt: skip

    return Learner(
        name=stage.name,
        module=modules,
        losses=losses,
        recipe=recipe,
        seed=seed_for("exits", train.seed),
        steps_per_epoch=steps_per_epoch,
    )


def frozen_pass(backbone: BlockBackbone, stages: Sequence[Stage]) -> Callable[[Batch], BackbonePass]:
    """One forward pass of the backbone per batch, without gradients, with the tokens that the heads of any stage read.

    All stages use the same mode of the frozen backbone: evaluation, or training with active dropout and drop-path.
    """
    blocks = sorted({block for stage in stages for block in stage.run.train.head_blocks})
    (mode,) = {stage.fields["frozen_mode"] for stage in stages}
    backbone.train(mode == "train")

    def run(batch: Batch) -> BackbonePass:
        with torch.no_grad():
            return backbone_pass(backbone, batch.images, blocks)

    return run
