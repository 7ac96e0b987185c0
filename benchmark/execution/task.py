"""A task: make these stages, record these runs. Every way to execute a plan ends here."""

from __future__ import annotations

from collections.abc import Collection

from benchmark.execution.config import ExecutionConfig
from benchmark.progress import Reporter
from benchmark.stages.plan import Plan


def run_task(
    plan: Plan,
    config: ExecutionConfig,
    reporter: Reporter,
    *,
    stages: Collection[str],
    runs: Collection[str] = (),
) -> dict[str, Exception]:
    """Make stages and record runs in this process. Idempotent: what is there is skipped.

    Several processes may call this for the same names in one results folder: each stage is made by one of them, under its
    lock. Where torch's launcher started this process as one of several ranks (`benchmark.execution.launch`), every rank
    calls this with the same arguments: rank 0 does the work, and the other ranks take part in its trainings and scorings.

    Args:
        plan: that holds the stages and runs.
        config: of this process.
        reporter: shows progress; says when to stop.
        stages: names of the stages to make. A parent that is neither there nor among them blocks a stage.
        runs: ids of the runs to record, each as done if all its stages are there, else as failed.

    Returns:
        the stages that could not be made, by name, each with its error. Runs that failed have a record with the cause.

    Raises:
        Interrupted: the reporter asked to stop; the checkpoint is written.
        UserError, DataError, StoreError: no other stage could be made either; for instance the disk is full.
        RankError: another rank failed or died.
    """
    raise NotImplementedError
