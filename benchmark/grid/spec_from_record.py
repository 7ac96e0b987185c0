"""The run that a record asks for, read as carefully as a grid: a record may come from anybody. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.grid.load import Grid, grid_of
from benchmark.stages.keys import code_versions
from benchmark.stages.plan import changed_fields
from benchmark.stages.stage import RunStages, Stage
from benchmark.weights import check_source
from datasets.folder import PREFIX as FOLDER
from methods.lookup import unknown
from results.judge.environment_diff import Circumstance, Effect
from results.record import DoneRecord, StageRef
from results.store.folder import Store, StoreError, sha256, write_file
from results.tables.compare import differences

FILE = "file:"
IMPORTED = "imported"
MARK = "reproduction.json"


@dataclass(frozen=True)
class Elsewhere:
    """What a record may name by a path of its own machine, and the user's name for it here; None where none was given."""

    images: Path | None = None
    weights: Path | None = None


def finished_record(store: Store, run_id: str) -> DoneRecord:
    """The record of a finished run that was trained here.

    Raises:
        UserError: there is none, or nothing in it can be trained.
        StoreError: it is damaged.
    """
    known = store.run_ids()
    if run_id not in known:
        raise UserError(unknown("run", run_id, known) if known else f"there is no run in {store.root}")
    record = store.record(run_id)
    if record.status == "failed":
        raise UserError(f"{run_id} did not finish ({record.cause}), so there is no outcome to reproduce")
    if any(reference.stage == IMPORTED for reference in record.stages):
        raise UserError(
            f"{run_id} was imported from a checkpoint of the authors' code, which says nothing of how it was trained, so it "
            "cannot be trained again; import the checkpoint again, and compare the two results folders"
        )
    return record


def claim_folder(own: Store, store: Store, run_id: str) -> None:
    """Mark a results folder as that of the second making of a run: what else lies there could pass for it.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    mark = own.root / MARK
    path = store.run(run_id) / "record.json"
    claim = json.dumps({"run_id": run_id, "record": sha256(path)}, indent=1) + "\n"
    if own.root.exists():
        if not own.root.is_dir() or (any(own.root.iterdir()) and not mark.is_file()):
            raise UserError(f"--into: {own.root} is there and holds no reproduction; name another folder")
        if mark.is_file() and mark.read_text(encoding="utf-8") != claim:
            raise UserError(f"--into: {own.root} holds the reproduction of another record; name another folder")
    if not mark.is_file():
        try:
            write_file(mark, claim.encode())
        except StoreError as error:
            raise UserError(f"--into: {str(error).partition(';')[0]}; name another folder") from error


def asked(record: DoneRecord, path: Path, elsewhere: Elsewhere, data_dir: Path | None) -> Grid:
    """A grid of the one run that a record asks for.

    A path in a record is one of another machine, or of somebody who would like to have it read: it is not followed. The user
    names what lies here.

    Args:
        path: of the record, for sentences about mistakes.
        elsewhere: the user's names.
        data_dir: where the user keeps data and pretrained weights, if named.

    Raises:
        UserError: one sentence for every mistake.
    """
    spec = record.spec
    train = spec.train
    content = {
        "name": "reproduce",
        "backbones": [
            {"name": train.backbone, "set": {"weights": _weights(train.weights.source, path, elsewhere.weights)}}
        ],
        "datasets": [{"name": _dataset(train.dataset.name, path, elsewhere.images), "set": train.dataset.set}],
        "methods": [train.method.model_dump()],
        "exits": [list(train.exits) or [1]],  # a method without exits looks at none
        "seeds": [train.seed],
        "recipes": train.recipes.model_dump(mode="json"),
        "policies": [policy.model_dump() for policy in spec.policies],
    }
    (run,) = grid_of(content, path, data_dir).runs
    return Grid("reproduce", path, (run.model_copy(update={"scheme": spec.scheme}),))


def _dataset(name: str, path: Path, images: Path | None) -> str:
    if FOLDER not in name:
        if images is not None:
            raise UserError(f"--images goes with a run on a folder of images; this one is on {name}")
        return name
    if images is None or not name.startswith(FOLDER):
        raise UserError(
            f"{path}: the run is on {name}; a path in a record is not followed, so name the folder as it lies here: "
            "--images PATH"
        )
    return FOLDER + str(images)


def _weights(source: str, path: Path, weights: Path | None) -> str:
    try:
        check_source(source)
    except ValueError as error:
        raise UserError(f"{path}: spec.train.weights.source: {error}") from None
    if not source.startswith(FILE):
        if weights is not None:
            raise UserError(f"--weights goes with a run that starts from a file; this one starts from {source}")
        return source
    if weights is None:
        raise UserError(
            f"{path}: the run starts from {source}; a path in a record is not followed, so name the file as it lies here: "
            "--weights PATH"
        )
    return FILE + str(weights)


def stage_changes(record: DoneRecord, store: Store, run: RunStages) -> list[Circumstance]:
    """Where a stage would be another one today: its code has a new version, or it reads something else.

    Args:
        record: of the finished run.
        store: its results folder; manifests there name the field, otherwise only the versions in the record can.
        run: the stages of today.
    """
    changed: Effect = "changes what is computed"
    found, pairs = [], list(zip(record.stages, run.chain, strict=False))
    kinds = [[reference.stage for reference in record.stages], [stage.kind for stage in run.chain]]
    if kinds[0] != kinds[1]:
        return [Circumstance("stages", " ".join(kinds[0]), " ".join(kinds[1]), changed)]
    other = [(reference, stage) for reference, stage in pairs if reference.key != stage.key]
    for reference, stage in other:
        for entry in differences(reference.code, code_versions(stage.kind)):
            found.append(Circumstance(f"{stage.kind}.code.{entry.field}", entry.first, entry.second, changed))
        for field, before, after in _fields(store, reference, stage):
            found.append(Circumstance(f"{stage.kind}.{field}", before, after, changed))
    weights = record.spec.train.weights.sha256, run.spec.train.weights.sha256
    if weights[0] != weights[1]:
        found.append(Circumstance("weights.sha256", *weights, changed))
    if other and not found:  # a head, a loss, a backbone or the data: the record does not say which
        reference, stage = other[0]
        found.append(Circumstance(f"{stage.kind}.key", reference.key, stage.key, changed))
    if not other and record.run_id != run.run_id:
        found.append(Circumstance("evaluate.key", record.run_id.rpartition("-")[2], run.evaluate.key[:8], changed))
    return found


def _fields(store: Store, reference: StageRef, stage: Stage) -> list[tuple[str, Any, Any]]:
    """The fields in which a recorded stage differs, where its manifest is there to say so; code version and parents aside."""
    try:
        fields = store.manifest(reference.name).get("fields")
    except StoreError:
        return []
    if not isinstance(fields, dict):
        return []
    found = changed_fields(fields, stage.fields)
    return [entry for entry in found if not entry[0].startswith(("code.", "parents."))]
