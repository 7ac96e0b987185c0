"""What can be shared of runs beside the records that `results.store.sharing` copies: scores in a small form, and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from results.record import DoneRecord
from results.store.files import StoreError
from results.store.folder import Store
from results.store.released_scores import FOLDER, write_released

SPLITS = ("val", "test")
SCORES, WEIGHTS = "scores", "weights"
TIERS = ("records", SCORES, WEIGHTS)
TRAINED = ("finetune", "joint", "exits", "imported")
"""Kinds of stages that hold weights."""
STORED = {"segmentation": "counts of pixels", "detection": "boxes"}
"""What the scores of a task hold in place of logits."""


@dataclass(frozen=True)
class Tier:
    """One of `TIERS` in a shared folder.

    Attributes:
        name: of the tier.
        bytes: size in the folder, or where it is not included, the size of what could be added.
        included: whether the folder has it.
    """

    name: str
    bytes: int
    included: bool


def share_scores(store: Store, run_ids: Sequence[str], target: Path) -> list[str]:
    """Write the scores of runs in the released form; runs with the same scores share the files.

    Returns:
        a sentence for every run whose scores are not in the results folder, or damaged.

    Raises:
        OSError: a file cannot be written.
    """
    problems = []
    for record in _records(store, run_ids):
        stage = scores_stage(record)
        if stage is None:
            problems.append(f"{record.run_id}: an external run has no logits, so its scores are not included")
            continue
        if record.data.task != "classification":
            stored = STORED[record.data.task]
            problems.append(f"{record.run_id}: the small form is for logits, and {record.data.task} stores {stored}")
            continue
        for split in SPLITS:
            path = released_file(target, stage, split)
            try:
                if not path.is_file():
                    write_released(load_file(store.artifact(stage, f"{split}.safetensors")), path)
            except (StoreError, ValueError) as error:
                problems.append(f"{record.run_id}: its scores are not included: {error}")
                break
    return problems


def share_weights(store: Store, run_ids: Sequence[str], target: Path) -> list[str]:
    """Copy the stages of runs with weights and scores, so that the target is a results folder in which `predict` works.

    Returns:
        a sentence for every run of which a stage is missing or damaged.

    Raises:
        OSError: a file cannot be written.
    """
    problems, copy = [], Store(target)
    for record in _records(store, run_ids):
        for name in _weight_stages(record):
            if copy.has_stage(name):
                continue
            try:
                fields, provenance = store.manifest(name)["fields"], store.provenance(name)
                paths = [store.artifact(name, entry["path"]) for entry in store.manifest(name)["artifacts"]]
            except StoreError as error:
                problems.append(f"{record.run_id}: its weights are not included: {error}")
                break
            with copy.write_stage(name, fields, provenance) as folder:
                for path in paths:
                    (folder / path.name).write_bytes(path.read_bytes())
    return problems


def tiers(store: Store, run_ids: Sequence[str], target: Path, included: Sequence[str]) -> list[Tier]:
    """The tiers of a shared folder with their sizes; no scores where no run has scores that can be shared.

    For scores that are not included, the size is at most half of the stored one; for weights it is that of the stages.
    """
    scores: dict[str, int] = {}
    weights: dict[str, int] = {}
    for record in _records(store, run_ids):
        sizes = {ref.name: sum(artifact.bytes for artifact in ref.artifacts) for ref in record.stages}
        stage = scores_stage(record)
        if stage is not None and record.data.task == "classification":
            scores[stage] = sizes[stage] // 2
        weights |= {name: sizes[name] for name in _weight_stages(record)}
    score_bytes = _bytes(target / FOLDER) if SCORES in included else sum(scores.values())
    return [
        Tier("records", _bytes(target / "runs"), True),
        *([Tier(SCORES, score_bytes, SCORES in included)] if scores else []),
        Tier(WEIGHTS, _bytes(target / "stages") if WEIGHTS in included else sum(weights.values()), WEIGHTS in included),
    ]


def scores_stage(record: DoneRecord) -> str | None:
    """The stage with the run's own scores: the last one, as that of the backbone precedes it. None for an external run."""
    names = [reference.name for reference in record.stages if reference.stage == "scores"]
    return names[-1] if names else None


def released_file(root: Path, stage: str, split: str) -> Path:
    return root / FOLDER / stage / f"{split}.safetensors"


def _weight_stages(record: DoneRecord) -> list[str]:
    """Stages that hold weights, and the run's scores, on which policies are fitted."""
    own = scores_stage(record)
    return [ref.name for ref in record.stages if ref.stage in TRAINED] + ([own] if own else [])


def _records(store: Store, run_ids: Sequence[str]) -> Iterator[DoneRecord]:
    """The records of finished runs; others are skipped, because reports name them."""
    for run_id in run_ids:
        try:
            record = store.record(run_id)
        except StoreError:
            continue
        if isinstance(record, DoneRecord):
            yield record


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
