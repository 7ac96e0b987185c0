"""Stage 1: backbone and final classifier, trained with cross-entropy. All methods on a backbone share it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmark.seeds import seed_for
from benchmark.stages.stage import Stage
from benchmark.training.backbone import initial_backbone, task_of
from benchmark.training.inputs import Inputs
from benchmark.training.loop import Learner, Position
from benchmark.training.reduced import reduced
from datasets.loading import Batch


def finetune_learner(stage: Stage, inputs: Inputs, weights: Path | None, device: torch.device) -> Learner:
    """The learner of a ``finetune`` stage; ``weights`` is the file with the pretrained weights, if the run names any.

    Raises:
        UserError: the weights do not fit.
    """
    train, recipe = stage.run.train, stage.recipe
    assert recipe is not None
    task = task_of(train)
    backbone = initial_backbone(train, stage.blocks, weights, keep_classifier=recipe.epochs == 0)
    backbone = reduced(backbone, stage.reduction).to(device).train()

    def losses(batch: Batch, frozen: None, at: Position) -> dict[str, Tensor]:
        output = backbone(batch.images)
        loss = task.cross_entropy(output, batch.labels, recipe.label_smoothing)
        return {"total": loss, "accuracy": task.is_right(output, batch.labels).mean()}

    return Learner(
        name=stage.name,
        module=backbone,
        losses=losses,
        recipe=recipe,
        seed=seed_for("finetune", train.seed),
        steps_per_epoch=inputs.steps_per_epoch(recipe),
    )
