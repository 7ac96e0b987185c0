"""The stored scores of finished runs."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.errors import UserError
from benchmark.evaluation.scores import SCORED, ExitScores, load_scores, score_file
from results.record import DoneRecord
from results.store.folder import Store
from results.store.released_scores import read_released
from results.store.tiers import released_file


def stage_name(record: DoneRecord, kind: str) -> str:
    """The name of the run's stage of a kind: the last one, because the backbone's ``scores`` stage precedes the run's."""
    return [reference.name for reference in record.stages if reference.stage == kind][-1]


def train_again(store: Store, record: DoneRecord) -> str:
    """What to do where the weights or scores of a run are not in the folder, for a message."""
    command = f"python -m benchmark reproduce {record.run_id} --results {store.root} --into FOLDER"
    return f"train the run again with: {command}, and use it with --results FOLDER"


def load_run_scores(store: Store, record: DoneRecord) -> dict[str, ExitScores]:
    """The run's own scores by split; in a folder of shared records with scores, the released ones.

    Raises:
        UserError: the run is external, or its scores are not in the folder.
        StoreError: an artifact was changed.
    """
    if record.is_external:
        raise UserError(f"{record.run_id}: an external run has predictions and confidences, and no logits")
    stage = stage_name(record, "scores")
    if not store.has_stage(stage):
        for root in store.roots:
            released = {split: released_file(root, stage, split) for split in SCORED}
            if all(path.is_file() for path in released.values()):
                return {split: released_scores(path) for split, path in released.items()}
        raise UserError(
            f"{record.run_id}: its scores are not in {store.root} ({stage} is missing), as in records without scores; "
            f"{train_again(store, record)}"
        )
    return {split: load_scores(store.artifact(stage, score_file(split))) for split in SCORED}


def released_scores(path: Path) -> ExitScores:
    """Scores from a released file; `results.store.released_scores` documents its layout and its precision.

    Raises:
        StoreError: the file is missing or in another form.
    """
    arrays = read_released(path)
    return ExitScores.of({name: torch.from_numpy(array) for name, array in arrays.items()})
