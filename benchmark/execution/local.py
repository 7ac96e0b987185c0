"""Carries out a plan in this process: run by run, each missing stage once, exits that share a backbone in one pass."""

from __future__ import annotations

import time

from benchmark.execution.maker import FATAL, StageMaker


def execute_here(maker: StageMaker) -> list[str]:
    """Make every missing run of the maker's plan.

    Returns:
        the ids of runs that failed; each has a record with the cause.

    Raises:
        UserError, DataError, StoreError: something that the user must mend first.
        Interrupted: the user asked to stop; nothing is lost.
    """
    maker.check()
    missing, failed = maker.plan.missing_runs, []
    for i, run in enumerate(missing, start=1):
        maker.place = f"run {i}/{len(missing)}"
        begun = time.monotonic()
        try:
            for stage in run.chain:
                maker.make(stage)
            maker.finish(run, time.monotonic() - begun)
        except FATAL:
            raise
        except Exception as error:
            failed.append(run.run_id)
            maker.fail(run, error)
    return failed
