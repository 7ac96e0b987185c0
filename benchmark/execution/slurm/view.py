"""Slurm's side of `benchmark.execution.status`: which stages wait in its queue, and which will never come."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.verdicts import jobs_of, sentence_of
from benchmark.execution.status import Scheduled
from benchmark.stages.plan import Plan
from results.store.folder import Store


def slurm_view(store: Store, plan: Plan) -> Mapping[str, Scheduled]:
    """Of the missing stages that were submitted, by name; empty where nothing was, or on a machine without Slurm.

    Raises:
        UserError: squeue does not answer.
    """
    jobs = jobs_of(store)
    known = {stage.name: jobs[stage.name] for stage in plan.missing_stages if stage.name in jobs}
    if not known or not scheduler.is_there():
        return {}
    states = scheduler.states_of({job for _, job in known.values()})
    found = {}
    for name, (submission, job) in known.items():
        state, log = states[job], str(submission.log(job))
        if state.waits:
            found[name] = Scheduled("queued", job, state.reason, log)
        elif state.runs:
            found[name] = Scheduled("running", job, "", log)
        else:
            found[name] = Scheduled("lost", job, sentence_of(job, state)[1], log)
    return found
