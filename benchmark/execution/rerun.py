"""A second run from the record of a finished one, and their differences. No torch; `rerun_training` trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.execution.requirements import fetch_weights
from benchmark.grid.spec_from_record import LocalPaths, claim_folder, finished_record, grid_of_record
from benchmark.stages.changes import stage_changes
from benchmark.stages.plan import Plan, make_plan
from benchmark.stages.stage import RunStages
from results.judge.environment_diff import EnvironmentDifference, distinct, of_code, of_data, of_machines
from results.judge.reproduction import machines
from results.record import DoneRecord
from results.store.folder import Store


@dataclass(frozen=True)
class Rerun:
    """A finished run and its second run.

    Attributes:
        record: of the finished run.
        recorded: the results folder of the record.
        reproduced: the results folder of the second run.
        plan: of the second run alone.
    """

    record: DoneRecord
    recorded: Store
    reproduced: Store
    plan: Plan

    @property
    def run(self) -> RunStages:
        """The second run; its id differs from the record's if the code of a stage has changed."""
        return self.plan.runs[0]

    def differences(self) -> list[EnvironmentDifference]:
        """Differences between the environments of the two runs, once the second is finished.

        Raises:
            StoreError: the second run has no valid record.
        """
        second = self.reproduced.done_record(self.run.run_id)
        pairs = machines(self.record, self.recorded, second, self.reproduced)
        return distinct(
            [
                *stage_changes(self.record, self.recorded, self.run),
                *of_data(self.record.data, second.data),
                *(difference for pair in pairs for difference in of_machines(*pair)),
                *of_code(self.record.provenance.code, second.provenance.code),
            ]
        )


def prepare_rerun(
    recorded: Store,
    reference: str,
    reproduced: Store,
    local: LocalPaths,
    data_dir: Path | None,
    offline: bool,
    say: Callable[[str], None],
) -> Rerun:
    """Check the record, reserve the results folder of the second run, and fetch missing pretrained weights.

    Args:
        recorded: the results folder of the record.
        reference: names the run of the record; see `benchmark.run_reference`.
        reproduced: the results folder of the second run.
        local: the user's paths for images and weights that the record names by path.
        data_dir: the user's folder of datasets and weights, if any.
        offline: never use the network.
        say: receives a line about each download.

    Raises:
        UserError: the run cannot be trained again here.
        StoreError: the record is damaged.
    """
    record = finished_record(recorded, reference)
    run_id = record.run_id
    path = recorded.run(run_id) / "record.json"
    grid = grid_of_record(record, path, local, data_dir)
    claim_folder(reproduced, recorded, run_id)
    if fetch_weights(grid.runs, data_dir, offline, say):
        grid = grid_of_record(record, path, local, data_dir)  # the hash of the weights is part of the plan
    return Rerun(record, recorded, reproduced, make_plan(grid, reproduced))
