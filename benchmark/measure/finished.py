"""The trained model and the policy of a finished run, and the backbone that it is compared with."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmark import registry
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import prepare
from benchmark.evaluation.scores import CHOSEN, ExitScores
from benchmark.evaluation.stored_runs import stage_name, train_again
from benchmark.importing.model import ANATOMY, KIND, WEIGHTS, read_model
from benchmark.run_reference import find_run
from benchmark.stages.graph import method_of
from benchmark.training.backbone import BACKBONE_WEIGHTS, load_backbone
from benchmark.training.heads import HEADS_WEIGHTS, build_heads, load_heads
from benchmark.training.trained_model import trained_model
from methods.api import ONLY_CLASSIFICATION
from methods.backbones.backbone import BlockBackbone
from methods.lookup import listed, unknown
from methods.model import ExitHeads, MultiExitModel
from methods.policies.confidence import Confidence
from methods.policies.policy import ExitPolicy
from results.operating_point import DROP, OperatingPoint
from results.record import DoneRecord
from results.store.folder import Store
from results.tables.run import NO_POLICY, STATIC


def load_model(store: Store, record: DoneRecord, device: torch.device) -> MultiExitModel:
    """The trained model of a run, in evaluation mode.

    Raises:
        UserError: weights or scores of the run are not in the results folder.
        StoreError: an artifact was changed.
    """
    refuse_without_weights(store, record)
    train = record.spec.train
    if any(reference.stage == KIND for reference in record.stages):
        (imported,) = model_stages(record)
        return read_model(store.artifact(imported, WEIGHTS), store.artifact(imported, ANATOMY), device)
    backbone_stage, *heads_stages = model_stages(record)
    weights = store.artifact(backbone_stage, BACKBONE_WEIGHTS)
    heads = build_heads(train) if train.exits and not heads_stages else ExitHeads((), ())
    for stage in heads_stages:
        heads = load_heads(train, store.artifact(stage, HEADS_WEIGHTS), device)
    reduction = None
    if train.replacement is not None:
        of_backbone = train.model_copy(update={"backbone": train.replacement.backbone, "replacement": None})
        backbone = load_backbone(of_backbone, len(record.costs.blocks), weights, device)
    else:
        method, card = method_of(train), registry.card("backbone", train.backbone)
        backbone = load_backbone(train, method.blocks(card), weights, device)
        reduction = method.token_reduction(card)
    model = trained_model(train, backbone, heads, reduction, device)
    scores = stage_name(record, "scores")
    if any(Path(artifact.path).name == CHOSEN for artifact in store.artifacts(scores)):
        model.backbone.load_chosen(load_file(store.artifact(scores, CHOSEN)))
    return model


def refuse_without_weights(store: Store, record: DoneRecord) -> None:
    """
    Raises:
        UserError: weights or scores of the run are not in the results folder, as in shared records.
    """
    missing = [name for name in (*model_stages(record), stage_name(record, "scores")) if not store.has_stage(name)]
    if missing:
        raise UserError(
            f"{record.run_id}: its weights are not in {store.root} ({', '.join(missing)} missing), as in records without "
            f"weights; {train_again(store, record)}"
        )


def reference_backbone(store: Store, record: DoneRecord, model: MultiExitModel, device: torch.device) -> BlockBackbone:
    """The backbone without exits with which the `model` of a run is compared.

    It is the model's own, or the fine-tuned whole one if the model has no exits or fewer tokens.

    Raises:
        StoreError: an artifact is missing or was changed.
    """
    if model.exit_heads.exits and not model.backbone.is_reduced:
        return model.backbone
    train = record.spec.train
    reference = next(stage for stage in record.stages if stage.stage == "finetune")  # precedes the run's own
    weights = store.artifact(reference.name, BACKBONE_WEIGHTS)
    return load_backbone(train, registry.card("backbone", train.backbone).depth, weights, device)


def model_stages(record: DoneRecord) -> tuple[str, ...]:
    """The stages with the weights of a run: the backbone, and the heads if any have weights; or the imported model."""
    kinds = {reference.stage for reference in record.stages}
    if KIND in kinds:
        return (stage_name(record, KIND),)
    backbone = stage_name(record, "joint" if "joint" in kinds else "finetune")
    has_heads = len(record.exits) > 1 or record.spec.train.token_exits
    if not has_heads or not kinds & {"exits", "joint"}:
        return (backbone,)
    return backbone, stage_name(record, "exits" if "exits" in kinds else "joint")


def finished_run(
    store: Store,
    reference: str,
    option: str = "--run",
    *,
    without_exits: bool = False,
    tasks: tuple[str, ...] = ONLY_CLASSIFICATION,
) -> DoneRecord:
    """The record of a finished run with early exits, or with ``without_exits`` also of one without.

    Args:
        store: the results folder.
        reference: a name of the run; see `benchmark.run_reference`.
        option: the command-line option of the run, for messages.
        without_exits: whether runs without early exits are allowed.
        tasks: names of the allowed tasks.

    Raises:
        UserError: the run does not exist, did not finish, has no early exits or no model, or is of another task.
        StoreError: the record is damaged.
    """
    run_id = find_run(reference, store.run_ids(), str(store.root))
    record = store.record(run_id)
    if record.status == "failed":
        raise UserError(f"{option} {run_id}: it did not finish ({record.cause})")
    if record.is_external:
        raise UserError(
            f"{option} {run_id}: an external run, made from a table of answers; there is no model of it here"
        )
    if record.data.task not in tasks:
        raise UserError(f"{option} {run_id}: a run of {record.data.task}; this command takes runs of {listed(tasks)}")
    if record.spec.train.method.name == STATIC:
        raise UserError(f"{option} {run_id}: it has no early exits; it is the backbone with which others are compared")
    if len(record.exits) < 2 and not without_exits:
        raise UserError(f"{option} {run_id}: it has no early exits")
    return record


def policy_label(record: DoneRecord, policy: str | None) -> str:
    """The label of a policy of a run; without a name, its first.

    Raises:
        UserError: the run has no such policy.
    """
    labels = [selection.label for selection in record.spec.policies]
    if policy is None:
        return labels[0]
    if policy not in labels:
        raise UserError(
            f"--policy: {unknown('policy of this run', policy, labels)}; to add another, name it in policies of the grid and "
            "run the grid again: the stored scores are used, and nothing is trained"
        )
    return policy


def choose_point(record: DoneRecord, name: str | None) -> OperatingPoint:
    """The named operating point; without a name, the point with an accuracy drop of `DROP`, else the first with one threshold.

    Raises:
        UserError: the point does not exist or mixes two thresholds.
    """
    usable = [point for point in record.points if len(point.settings) == 1]
    if name is not None:
        points = {point.name: point for point in record.points if point.reached}
        if name not in points:
            raise UserError(f"--point: {unknown('operating point', name, points)}")
        if len(points[name].settings) > 1:
            raise UserError(
                f"--point {name}: it mixes two thresholds; use one of: {', '.join(point.name for point in usable)}"
            )
        return points[name]
    order = [p for p in usable if (p.kind, p.target) == ("accuracy-drop", DROP)] + usable
    if not order:
        raise UserError(f"run {record.run_id} reached no operating point with one threshold")
    return order[0]


def policy_at(record: DoneRecord, point: OperatingPoint, val: ExitScores) -> ExitPolicy:
    """The policy of an operating point, fitted on val, with the point's threshold; a placeholder for a run without exits."""
    if point.policy == NO_POLICY:
        return Confidence(threshold=point.settings[0].threshold)
    selections = record.spec.policies
    selection = next(selection for selection in selections if selection.label == point.policy)
    policy, _ = prepare(selection, val, record.costs)
    if policy.setting is None:
        setattr(policy, policy.swept, point.settings[0].threshold)
    return policy
