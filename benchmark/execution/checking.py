"""Checks before training: whether the models of a plan can be built, and whether data and weights exist and fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmark import registry
from benchmark.errors import Interrupted, UserError
from benchmark.execution.building import Builder
from benchmark.execution.data_check import READS
from benchmark.execution.image_sizes import is_known_late, shrunk
from benchmark.progress import Reporter
from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages
from benchmark.training.backbone import initial_backbone
from benchmark.training.heads import build_heads
from datasets.check import check_mask_files
from datasets.folder import PREFIX, is_folder
from datasets.images import typical_side
from datasets.masks import MaskFiles
from datasets.skipped import skipped_files


def check_plan(plan: Plan, builder: Builder, reporter: Reporter) -> list[str]:
    """Build all models and read all data and weights of the missing runs once.

    Args:
        plan: of the runs.
        builder: of their models.
        reporter: shows how far the longest check is, that of masks.

    Returns:
        warnings, one sentence each.

    Raises:
        UserError: a part or a file of weights does not fit.
        DataError: images are missing or damaged, or a mask does not fit.
        Interrupted: the reporter asked to stop.
    """
    check_parts(plan.missing_runs, str(plan.grid.source))
    warnings = []
    for run in plan.missing_runs:
        inputs = builder.inputs(run.spec.train)
        if is_known_late(inputs.card):  # of the others the plan has the warning
            side = typical_side(inputs.splits["train"].images)
            warnings.append(shrunk(inputs.card, side, run.spec.train.backbone))
    check_weights(plan, builder)
    check_masks(plan, builder, reporter)
    return [warning for warning in dict.fromkeys(warnings) if warning is not None]


def skipped_images(plan: Plan) -> list[str]:
    """A sentence for each kind of file that the user's folders of images hold and that is not used."""
    names = dict.fromkeys(run.spec.train.dataset.name for run in plan.missing_runs)
    return [
        sentence
        for name in names
        if is_folder(name)
        for sentence in skipped_files(
            Path(name.removeprefix(PREFIX)), registry.card("dataset", name).read(None).values()
        )
    ]


def check_parts(runs: Sequence[RunStages], source: str) -> None:
    """Build heads, losses and policies.

    Args:
        source: the grid's file, for the message.

    Raises:
        UserError: one sentence for each part that does not fit.
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


def check_weights(plan: Plan, builder: Builder) -> None:
    """Load every file of pretrained weights into the backbone that starts from it.

    Raises:
        UserError: a file does not fit.
    """
    checked = set()
    for stage in plan.missing_stages:
        if stage.recipe is None or not stage.fields.get("weights"):
            continue
        keep_classifier = stage.kind == "finetune" and stage.recipe.epochs == 0
        combination = (stage.fields["weights"], json.dumps(stage.fields["backbone"]), keep_classifier)
        if combination not in checked:
            checked.add(combination)
            initial_backbone(stage.run.train, stage.blocks, builder.weights(stage), keep_classifier=keep_classifier)


def check_masks(plan: Plan, builder: Builder, reporter: Reporter) -> None:
    """Decode every mask that the missing stages read batch by batch: a wrong one would end a training or scoring.

    Raises:
        DataError: a mask does not fit.
        Interrupted: the reporter asked to stop.
    """

    def show(done: int, total: int) -> None:
        if reporter.stop_requested():
            raise Interrupted
        reporter.step(done, 0, dict)

    trains = [stage.run.train for stage in plan.missing_stages if stage.kind in READS]
    for train in {train.dataset.model_dump_json(): train for train in trains}.values():
        inputs = builder.inputs(train)
        splits = [split for split in inputs.splits.values() if isinstance(split.masks, MaskFiles)]
        if count := sum(map(len, splits)):
            with reporter.stage(f"checking {count:,} masks of {inputs.card.name} before training", count):
                check_mask_files(splits, inputs.workers.count, show)
