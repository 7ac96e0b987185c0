"""What submitit pickles and a node calls. Imports next to nothing, so that the signal handlers stand within a moment."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any


@dataclass
class SlurmTask:
    """One task of an array: stages to make, runs to record, or the report.

    Attributes:
        folder: of the submission.
        kind: of the work.
        units: names of stages or runs; those that are made together in one group.
    """

    folder: str
    kind: str
    units: tuple[tuple[str, ...], ...]

    def __call__(self) -> None:
        from benchmark.execution.slurm.signals import SchedulerSignals

        with SchedulerSignals() as signals:
            from benchmark.checkout import put_checkout_first

            put_checkout_first()
            from benchmark.execution.slurm.node import TaskFailedError, work

            try:
                work(self, signals)
            except TaskFailedError as error:  # the causes are noted; a traceback would only hide them in the log
                print(error, flush=True)
                sys.exit(1)

    def checkpoint(self) -> Any:
        """submitit asks when it requeues: the same again, which goes on from the checkpoints in the results folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
