"""The grid that trains the run of a record again. A record may be untrusted, so it is checked like a grid file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.grid.load import Grid, grid_of
from benchmark.run_reference import find_run
from benchmark.weights import check_source
from datasets.folder import PREFIX as FOLDER
from results.record import DoneRecord
from results.spec import Weights
from results.store.files import StoreError, sha256, write_file
from results.store.folder import Store

FILE = "file:"
IMPORTED = "imported"
MARK = "reproduction.json"


@dataclass(frozen=True)
class LocalPaths:
    """The user's own paths for images and weights, which a record names by paths of another machine; None if not given."""

    images: Path | None = None
    weights: Path | None = None


def finished_record(store: Store, reference: str) -> DoneRecord:
    """The record of a finished run that this suite trained.

    Args:
        store: the results folder.
        reference: names the run; see `benchmark.run_reference`.

    Raises:
        UserError: there is no such record, or its run cannot be trained again.
        StoreError: the record is damaged.
    """
    run_id = find_run(reference, store.run_ids(), str(store.root))
    record = store.record(run_id)
    if record.status == "failed":
        raise UserError(f"{run_id} did not finish ({record.cause}), so there is no result to reproduce")
    if record.is_external:
        raise UserError(
            f"{run_id} is an external run, made from a table of answers, so there is nothing to train; use evaluate again"
        )
    if any(reference.stage == IMPORTED for reference in record.stages):
        raise UserError(
            f"{run_id} was imported from a checkpoint of the authors' code, which does not contain its training settings, so "
            "it cannot be trained again; import the checkpoint again, and compare the two results folders"
        )
    return record


def claim_folder(own: Store, store: Store, run_id: str) -> None:
    """Reserve a results folder for the second run of one record, so that it contains no other results.

    Args:
        own: the folder to reserve.
        store: the results folder of the record.
        run_id: of the record.

    Raises:
        UserError: the folder contains something else, or cannot be written.
    """
    mark = own.root / MARK
    path = store.run(run_id) / "record.json"
    claim = json.dumps({"run_id": run_id, "record": sha256(path)}, indent=1) + "\n"
    if own.root.exists():
        if not own.root.is_dir() or (any(own.root.iterdir()) and not mark.is_file()):
            raise UserError(f"--into: {own.root} exists and is not a folder of reproduce; name another folder")
        if mark.is_file() and mark.read_text(encoding="utf-8") != claim:
            raise UserError(f"--into: {own.root} contains the second run of another record; name another folder")
    if not mark.is_file():
        try:
            write_file(mark, claim.encode())
        except StoreError as error:
            raise UserError(f"--into: {str(error).partition(';')[0]}; name another folder") from error


def grid_of_record(record: DoneRecord, path: Path, local: LocalPaths, data_dir: Path | None) -> Grid:
    """A grid with the one run of a record.

    Paths in a record belong to another machine and could point anywhere, so they are not used. The user gives local paths.

    Args:
        record: of the run.
        path: of the record, for messages.
        local: the user's paths.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.

    Raises:
        UserError: one sentence for every mistake.
    """
    spec = record.spec
    train = spec.train
    content = {
        "name": "reproduce",
        "backbones": [{"name": train.backbone, "set": _weights(train.weights, path, local.weights)}],
        "datasets": [{"name": _dataset(train.dataset.name, path, local.images), "set": train.dataset.set}],
        "methods": [train.method.model_dump()],
        "exits": [list(train.head_blocks) or [1]],  # a method without exits ignores it
        "seeds": [train.seed],
        "recipes": train.recipes.model_dump(mode="json"),
        "policies": [policy.model_dump() for policy in spec.policies],
    }
    (run,) = grid_of(content, path, data_dir).runs
    # The recipes of a record already have its learning rate.
    kept = {"scheme": spec.scheme, "learning_rates": spec.learning_rates, "primary": spec.primary}
    return Grid("reproduce", path, (run.model_copy(update=kept),))


def _dataset(name: str, path: Path, images: Path | None) -> str:
    if FOLDER not in name:
        if images is not None:
            raise UserError(f"--images is for runs on a folder of images; this run uses {name}")
        return name
    if images is None or not name.startswith(FOLDER):
        raise UserError(
            f"{path}: the run uses {name}; paths in records are not followed, so give the folder on this machine: "
            "--images PATH"
        )
    return FOLDER + str(images)


def _weights(recorded: Weights, path: Path, weights: Path | None) -> dict[str, Any]:
    """The options of the backbone: its weights, and their normalisation where the record states one."""
    source = recorded.source
    normalisation = recorded.model_dump(mode="json", include={"mean", "std"}, exclude_none=True)
    try:
        check_source(source)
    except ValueError as error:
        raise UserError(f"{path}: spec.train.weights.source: {error}") from None
    if not source.startswith(FILE):
        if weights is not None:
            raise UserError(f"--weights is for runs that start from a file; this run starts from {source}")
        return {"weights": source, **normalisation}
    if weights is None:
        raise UserError(
            f"{path}: the run starts from {source}; paths in records are not followed, so give the file on this "
            "machine: --weights PATH"
        )
    return {"weights": FILE + str(weights), **normalisation}
