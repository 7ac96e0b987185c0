"""Repair of finished runs whose record or tables are damaged: they are evaluated again from their stages. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmark.stages.stage import RunStages
from results.store.files import DamagedError
from results.store.folder import Store
from results.store.run_files import check_run_files


def set_damaged_aside(runs: Iterable[RunStages], store: Store) -> Iterator[str]:
    """Remove the records of damaged runs whose stages are complete, so that they are evaluated again.

    Yields:
        a sentence for each damaged run: the damage, and how it is or can be repaired.
    """
    for run in runs:
        folder = store.run(run.run_id)
        if not (folder / "record.json").is_file():
            continue
        try:
            check_run_files(folder, store.record(run.run_id))
        except DamagedError as error:
            missing = next((stage.name for stage in run.chain if not store.has_stage(stage.name)), None)
            if missing is None:
                store.remove_run(run.run_id)
                yield f"{error}. Its scores exist, so the run is evaluated again"
            else:
                yield (
                    f"{error}. {store.stage(missing)} is missing: restore the file from a copy, or remove {folder} to "
                    "train the run again"
                )
