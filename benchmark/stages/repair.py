"""Repair of damaged runs and stages: they are moved to the folder ``damaged``, and made again. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmark.stages.stage import RunStages
from results.store.files import DamagedError
from results.store.folder import Store
from results.store.run_files import check_run_files


def set_damaged_aside(runs: Iterable[RunStages], store: Store) -> Iterator[str]:
    """Move damaged runs, and the damaged stages that missing and damaged runs need, to the folder ``damaged``.

    Yields:
        a sentence for each damaged run or stage: where it is now, and what is made again.

    Raises:
        StoreError: a file cannot be read, or a folder cannot be moved.
    """
    for run in runs:
        folder = store.run(run.run_id)
        is_recorded = (folder / "record.json").is_file()
        damage = _damage(run, store) if is_recorded else None
        if is_recorded and damage is None:
            continue
        yield from _set_stages_aside(run, store, verify_artifacts=damage is not None)
        if damage is not None:
            missing = [stage.name for stage in run.chain if not store.has_stage(stage.name)]
            work = f"needs {', '.join(missing)} first" if missing else "uses the stored scores"
            yield f"{damage}. The run was moved to {store.set_aside(folder)} and is evaluated again, which {work}"


def _damage(run: RunStages, store: Store) -> str | None:
    """What is damaged in the folder of a recorded run; None if nothing is."""
    try:
        check_run_files(store.run(run.run_id), store.record(run.run_id))
    except DamagedError as error:
        return str(error)
    return None


def _set_stages_aside(run: RunStages, store: Store, *, verify_artifacts: bool) -> Iterator[str]:
    """Move the damaged stages of a run. Artifacts are only verified where they are read: by the evaluation, or to make a stage
    that is missing."""
    is_read = {run.cost, run.scores, run.static_scores}
    for stage in reversed(run.chain):
        folder = store.stage(stage.name)
        try:
            store.check_stage(stage.name, artifacts=verify_artifacts and stage in is_read)
        except DamagedError:
            is_read |= set(stage.parents)
            if folder.exists():
                yield f"{folder} is damaged. It was moved to {store.set_aside(folder)} and is made again"
