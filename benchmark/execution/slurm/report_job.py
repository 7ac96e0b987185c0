"""``python -m benchmark.execution.slurm.report_job``: the last job of a submission; writes missing records, and the report."""

from __future__ import annotations

import sys

from benchmark.execution.slurm.node import NodeTask
from benchmark.pictures import Pictures
from reports.paper import build_report


def main(folder: str, kind: str, processes: str) -> int:
    """The exit code, 0."""
    task = NodeTask(folder, kind, processes)
    settings, store = task.settings, task.store
    unrecorded = [run.run_id for run in task.plan.runs if not (store.run(run.run_id) / "record.json").is_file()]
    if unrecorded:
        task.record_runs(unrecorded)
    run_ids = settings.report_runs
    done = sum(store.is_done(run_id) for run_id in run_ids)
    if not done:
        print(f"none of the {len(run_ids)} runs is finished, so there is nothing to report", flush=True)
        return 0
    print(f"{done} of {len(run_ids)} runs are finished", flush=True)
    if settings.formats:
        problems = build_report(
            store, list(run_ids), title=settings.grid, out=settings.out, formats=settings.formats,
            pictures=Pictures(settings.execution.data_dir),
        )  # fmt: skip
        for problem in problems:
            print(problem, flush=True)
        print(f"the report is in {settings.out}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
