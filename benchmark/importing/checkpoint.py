"""Import of a checkpoint from the authors' code: conversion, cost table and, with a dataset, scores and a run record."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import accuracies, evaluate, exit_metrics
from benchmark.evaluation.scores import SCORED, save_scores, score_file, score_split
from benchmark.importing.model import ANATOMY, KIND, WEIGHTS, read_model, registered_name, write_model
from benchmark.measure.cost import cost_table
from benchmark.stages.keys import code_versions
from benchmark.training.inputs import inputs_of
from methods.official import from_official
from methods.official_config import OfficialModel, describe
from methods.official_schema import CheckpointError
from results.record import COSTS, BackboneInfo, CostTable, DoneRecord, MethodInfo, SplitAccuracy, StageRef
from results.spec import Configured, Recipes, RunSpec, TrainSpec, Weights
from results.store.files import StoreError, read_file, sha256
from results.store.folder import Store
from results.text import whole_number

POLICIES = (
    Configured(name="confidence"),
    *(Configured(name="confidence", set={"threshold": threshold}) for threshold in (0.8, 0.9, 0.99)),
)
CONFIG_BYTES = 2**24
ROOTS = ("deit.", "swin.")
WRAPPERS = ("module.", "_orig_mod.")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)  # int64: counters and index buffers
MAX_PROBLEMS = 10  # number of problems that the error message for a checkpoint shows


def read_checkpoint(file: Path, config_file: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The tensors of a .bin or .safetensors file, and the configuration of the model.

    Raises:
        UserError: a file cannot be read, or the checkpoint is not a dictionary of tensors.
    """
    try:
        config = json.loads(read_file(config_file, CONFIG_BYTES).decode(), parse_int=whole_number)
    except RecursionError:
        raise UserError(f"--config {config_file}: nested too deeply") from None
    except (StoreError, ValueError) as error:
        raise UserError(f"--config {config_file}: cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise UserError(f"--config {config_file}: not a JSON object")
    try:
        is_safe = file.suffix == ".safetensors"
        tensors = load_file(file) if is_safe else torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message advises to disable the check, which would run code from the file
        raise UserError(
            f"{file}: cannot be read as a state dict: it has other objects than tensors, or is not a checkpoint of torch"
        ) from None
    except Exception as error:  # torch raises many kinds of errors for a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{file}: cannot be read as a state dict ({reason})") from None
    if not isinstance(tensors, dict) or not tensors:
        raise UserError(f"{file}: not a state dict: it contains no named tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{file}: not a state dict: {str(name)[:60]!r} is not a named tensor")
        if mistake := _tensor_mistake(tensor):
            raise UserError(f"{file}: the tensor {name[:60]!r} {mistake}")
    tensors = _without_prefix(tensors)
    wrapped = [name for name in tensors if name.startswith(WRAPPERS)]
    if wrapped:
        raise UserError(
            f"{file}: {len(wrapped)} of {len(tensors)} names begin with {' or '.join(WRAPPERS)}, the first is "
            f"{wrapped[0][:60]!r}: either all names have this prefix, or none"
        )
    return tensors, config


def _tensor_mistake(tensor: Tensor) -> str | None:
    """Why a tensor cannot be the weights or a counter of a model; None if it can."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return "is sparse, quantized or without values; weights are dense"
    if tensor.dtype not in DTYPES:
        return f"has the type {tensor.dtype}; weights are floating-point numbers of 16, 32 or 64 bits"
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        return "contains NaN or infinite values"
    return None


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that DataParallel and torch.compile add to all names."""
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def import_checkpoint(
    file: Path,
    config_file: Path,
    store: Store,
    dataset: Configured | None,
    data_dir: Path | None,
    device: torch.device,
    say: Callable[[str], None],
) -> str | None:
    """Import a checkpoint into a results folder; with a dataset, also score it and write a run record.

    Args:
        file: the checkpoint, .bin or .safetensors.
        config_file: the model's configuration, JSON.
        store: the results folder.
        dataset: the dataset to score on, with its split rule; None to import without scoring.
        data_dir: the user's dataset folder, if any.
        device: device for scoring.
        say: prints a progress message.

    Returns:
        the run's id; None without a dataset.

    Raises:
        UserError: the checkpoint or configuration is invalid, or its number of classes differs from the dataset's. Nothing is
            written in this case.
    """
    tensors, config = read_checkpoint(file, config_file)
    if not any(name.startswith(ROOTS) for name in tensors):
        raise UserError(
            f"{file}: no name of a tensor begins with {' or '.join(ROOTS)} as in the authors' code; the first is "
            f"{next(iter(tensors))[:60]!r}"
        )
    try:
        described = describe(config, tensors)
        model = from_official(tensors, config)
    except CheckpointError as error:
        problems = [f"{file}: {part}" for part in str(error).split("; ")]
        more = len(problems) - MAX_PROBLEMS
        raise UserError(*problems[:MAX_PROBLEMS], *([f"{file}: and {more} more"] if more > 0 else [])) from None
    inputs = None
    if dataset is not None:
        inputs = inputs_of(dataset, described.card, {}, data_dir)
        if len(inputs.card.classes) != described.classes:
            raise UserError(
                f"{file}: the checkpoint has {described.classes} classes and {inputs.card.name} has {len(inputs.card.classes)}"
            )
    store.prepare()
    source = Weights(source=f"file:{file.name}", sha256=sha256(file))
    fields = {"sha256": source.sha256, "config": config, "code": code_versions(KIND)}
    model_stage = _name(KIND, fields)
    if not store.has_stage(model_stage):
        with store.write_stage(model_stage, fields, provenance.stage_provenance(str(device), 0.0)) as folder:
            write_model(model, described, folder)
    say(f"imported: {store.stage(model_stage)}")
    costs = cost_table(model, described.card)
    cost_stage = _stage(store, "cost", {"parents": model_stage}, device, lambda folder: _write_costs(costs, folder))
    if inputs is None or dataset is None:
        return None
    start = time.monotonic()
    # Score the model as stored, not the one in memory.
    model = read_model(store.artifact(model_stage, WEIGHTS), store.artifact(model_stage, ANATOMY), device)
    scores = {split: score_split(model, inputs, split, device) for split in SCORED}
    data = inputs.data_card()

    def write_scores(folder: Path) -> None:
        for split, result in scores.items():
            save_scores(result, folder / score_file(split))

    fields = {"parents": model_stage, "data": data.split_identity, "content": data.content}
    score_stage = _stage(store, "scores", fields, device, write_scores)
    say(f"scored on {' and '.join(f'{len(result.labels):,} {split}' for split, result in scores.items())} images")
    blocks = [*described.exits, described.card.depth]
    # Without a backbone without exits, the checkpoint's final classifier is the reference for accuracy drops.
    evaluation = evaluate(scores, scores, costs, blocks, list(POLICIES))
    spec = RunSpec(train=_spec(described, config, dataset, source), scheme="as imported", policies=POLICIES)
    run_id = f"imported-{spec.train.backbone}-{inputs.card.name}-{score_stage.removeprefix('scores-')[:8]}"
    options = {"config": config, "drops_are_against": "the checkpoint's own final classifier"}
    record = DoneRecord(
        run_id=run_id,
        spec=spec,
        method=MethodInfo(name=KIND, options=options, display_name="Imported checkpoint"),
        backbone=BackboneInfo(
            name=spec.train.backbone, family=described.card.family, image_size=described.card.image_size
        ),
        stages=tuple(_reference(store, name) for name in (model_stage, cost_stage, score_stage)),
        provenance=provenance.provenance(str(device), time.monotonic() - start),
        data=data,
        costs=costs,
        exits=exit_metrics(scores, blocks, [choice.name for choice in described.heads]),
        static_accuracy=SplitAccuracy(**{split: accuracies(result)[-1] for split, result in scores.items()}),
        points=evaluation.points,
    )
    with store.write_run(record) as folder:
        evaluation.write(folder, record.data.split_identity["val"])
    return run_id


def _spec(described: OfficialModel, config: dict[str, Any], dataset: Configured, source: Weights) -> TrainSpec:
    card = described.card
    backbone = registered_name(card) or f"{described.family}_{card.dims[-1]}x{card.depth}_{card.image_size}"
    method = Configured(name=KIND, set={"highway_type": config["highway_type"]})
    return TrainSpec(
        dataset=dataset,
        backbone=backbone,
        weights=source,
        method=method,
        exits=described.exits,
        recipes=Recipes(),
        seed=0,
    )


def _stage(store: Store, kind: str, fields: dict[str, Any], device: torch.device, write: Callable[[Path], None]) -> str:
    fields = {"code": code_versions(kind), **fields}
    name = _name(kind, fields)
    if not store.has_stage(name):
        with store.write_stage(name, fields, provenance.stage_provenance(str(device), 0.0)) as folder:
            write(folder)
    return name


def _write_costs(costs: CostTable, folder: Path) -> None:
    (folder / COSTS).write_text(costs.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _name(kind: str, fields: dict[str, Any]) -> str:
    text = json.dumps({"stage": kind, **fields}, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _reference(store: Store, name: str) -> StageRef:
    kind, key = name.split("-")
    return StageRef(
        stage=kind,
        key=key,
        code=code_versions(kind),
        seconds=store.provenance(name).seconds,
        shared_pass=1,
        artifacts=store.artifacts(name),
    )
