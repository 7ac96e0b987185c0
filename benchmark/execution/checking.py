"""What is looked at before anything trains: whether all parts of a plan can be built."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark import registry
from benchmark.errors import UserError
from benchmark.stages.stage import RunStages, Stage
from benchmark.training.backbone import initial_backbone
from benchmark.training.heads import build_heads


def check_parts(runs: Sequence[RunStages], source: str) -> None:
    """Build heads, losses and policies.

    Args:
        runs: whose.
        source: of the grid, for the sentence.

    Raises:
        UserError: a sentence for every part that does not fit.
    """
    mistakes = []
    for run in runs:
        train = run.spec.train
        try:
            build_heads(train)
            for stage in run.training:
                if stage.training is not None:
                    registry.configured("loss", stage.training.loss.name, stage.training.loss.options)
            for policy in run.spec.policies:
                registry.configured("policy", policy.name, policy.set)
        except (KeyError, ValueError, TypeError) as error:
            mistakes.append(f"{source}: {train.method.label} on {train.backbone}: {error.args[0]}")
    if mistakes:
        raise UserError(*dict.fromkeys(mistakes))


def check_weights(stages: Sequence[Stage], weights: Callable[[Stage], Path | None]) -> None:
    """Put every pretrained file into the backbone that it is for.

    Args:
        stages: that are to be made.
        weights: the file of a stage.

    Raises:
        UserError: it does not fit.
    """
    checked = set()
    for stage in stages:
        if stage.recipe is None or not stage.fields.get("weights"):
            continue
        keep_classifier = stage.kind == "finetune" and stage.recipe.epochs == 0
        what = (stage.fields["weights"], json.dumps(stage.fields["backbone"]), keep_classifier)
        if what not in checked:
            checked.add(what)
            initial_backbone(stage.run.train, stage.blocks, weights(stage), keep_classifier=keep_classifier)
