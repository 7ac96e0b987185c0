"""Where the second run of a record is trained, and how that environment differs from the record's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.device import set_up_torch
from benchmark.execution.rerun import Rerun
from benchmark.stages.changes import stage_changes
from benchmark.training.inputs import read_inputs
from results.judge.environment_diff import EnvironmentDifference, distinct, of_code, of_data, of_machines


def rerun_config(
    rerun: Rerun, device: str | None, threads: int | None, data_dir: Path | None, loader_processes: int | None
) -> ExecutionConfig:
    """Set up torch with the user's device and threads, by default the record's if this machine has them.

    Raises:
        UserError: the user's device is not usable here.
    """
    machine = rerun.record.provenance.machine
    if threads is None and 1 <= machine.threads <= (os.cpu_count() or 1):
        threads = machine.threads
    if device is None:
        device = machine.device if re.fullmatch(r"cpu|cuda(:\d+)?", machine.device) else "auto"
        try:
            set_up_torch(device, threads)
        except UserError:
            device = "auto"
    return ExecutionConfig(
        results=rerun.reproduced.root,
        device=str(set_up_torch(device, threads)),
        threads=threads,
        data_dir=data_dir,
        loader_processes=loader_processes,
    )


def differences_here(rerun: Rerun, config: ExecutionConfig) -> list[EnvironmentDifference]:
    """Differences between the record's environment and this process, for which `rerun_config` has set up torch."""
    record = rerun.record
    return distinct(
        [
            *stage_changes(record, rerun.recorded, rerun.run),
            *of_data(record.data, read_inputs(rerun.run.spec.train, config.data_dir).data_card()),
            *of_machines(record.provenance.machine, provenance.machine(config.device)),
            *of_code(record.provenance.code, provenance.code()),
        ]
    )
