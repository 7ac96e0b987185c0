"""The stored scores of finished runs."""

from __future__ import annotations

from benchmark.errors import UserError
from benchmark.evaluation.scores import SCORED, ExitScores, load_scores, score_file
from results.record import DoneRecord
from results.store.folder import Store


def stage_name(record: DoneRecord, kind: str) -> str:
    """The name of the run's stage of a kind: the last one, because the backbone's ``scores`` stage precedes the run's."""
    return [reference.name for reference in record.stages if reference.stage == kind][-1]


def load_run_scores(store: Store, record: DoneRecord) -> dict[str, ExitScores]:
    """The run's own scores by split.

    Raises:
        UserError: the run is external.
        StoreError: an artifact is missing or was changed.
    """
    if record.is_external:
        raise UserError(f"{record.run_id}: an external run has predictions and confidences, and no logits")
    stage = stage_name(record, "scores")
    return {split: load_scores(store.artifact(stage, score_file(split))) for split in SCORED}
