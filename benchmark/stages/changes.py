"""How the stages of a record differ from the stages that its run would have today."""

from __future__ import annotations

from typing import Any

from benchmark.stages.keys import code_versions
from benchmark.stages.plan import changed_fields
from benchmark.stages.stage import RunStages, Stage
from results.judge.environment_diff import Effect, EnvironmentDifference
from results.record import DoneRecord, StageRef
from results.store.folder import Store, StoreError
from results.tables.compare import differences

CHANGED: Effect = "changes what is computed"


def stage_changes(record: DoneRecord, store: Store, run: RunStages) -> list[EnvironmentDifference]:
    """The stages whose code has another version today, or that read other fields.

    Args:
        record: of the finished run.
        store: its results folder. Manifests there name the changed field; without them only code versions are known.
        run: the stages that the same run has today.
    """
    kinds = [[reference.stage for reference in record.stages], [stage.kind for stage in run.chain]]
    if kinds[0] != kinds[1]:
        return [EnvironmentDifference("stages", " ".join(kinds[0]), " ".join(kinds[1]), CHANGED)]
    changes = []
    pairs = zip(record.stages, run.chain, strict=True)
    changed = [(reference, stage) for reference, stage in pairs if reference.key != stage.key]
    for reference, stage in changed:
        for entry in differences(reference.code, code_versions(stage.kind)):
            changes.append(
                EnvironmentDifference(f"{stage.kind}.code.{entry.field}", entry.first, entry.second, CHANGED)
            )
        for field, before, after in _changed_fields(store, reference, stage):
            changes.append(EnvironmentDifference(f"{stage.kind}.{field}", before, after, CHANGED))
    weights = record.spec.train.weights.sha256, run.spec.train.weights.sha256
    if weights[0] != weights[1]:
        changes.append(EnvironmentDifference("weights.sha256", *weights, CHANGED))
    if changed and not changes:  # a head, a loss, a backbone or the data: the record does not say which
        reference, stage = changed[0]
        changes.append(EnvironmentDifference(f"{stage.kind}.key", reference.key, stage.key, CHANGED))
    if not changed and record.run_id != run.run_id:
        changes.append(
            EnvironmentDifference("evaluate.key", record.run_id.rpartition("-")[2], run.evaluate.key[:8], CHANGED)
        )
    return changes


def _changed_fields(store: Store, reference: StageRef, stage: Stage) -> list[tuple[str, Any, Any]]:
    """The fields in which a recorded stage differs, if its manifest is there; without code versions and parents' keys."""
    try:
        fields = store.manifest(reference.name).get("fields")
    except StoreError:
        return []
    if not isinstance(fields, dict):
        return []
    changes = changed_fields(fields, stage.fields)
    return [change for change in changes if not change[0].startswith(("code.", "parents."))]
