"""What the rows of a table of runs are called."""

from __future__ import annotations

from results.tables.run import NO_POLICY, Run


def labels(runs: list[Run]) -> dict[tuple[str, str], str]:
    """Labels of table rows, by (run id, policy): the method, the policy, or both if both vary between the runs."""
    with_exits = [run for run in runs if run.has_exits]
    methods = {run.method for run in with_exits}
    policies: dict[str, set[str]] = {}  # by task, because few policies fit two
    for run in with_exits:
        policies.setdefault(run.record.data.task, set()).update(run.policies)
    one_policy = all(len(of_task) == 1 for of_task in policies.values())
    names = {}
    for run in runs:
        for policy in run.policies:
            both = run.method if policy in (NO_POLICY, run.method) else f"{run.method}, {policy}"
            names[run.record.run_id, policy] = run.method if one_policy else policy if len(methods) == 1 else both
    return names
