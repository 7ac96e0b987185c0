"""One exit policy for each method of a setting, the same in all training seeds."""

from __future__ import annotations

from collections.abc import Iterable

from results.tables.run import Run


def under_one_policy(runs: Iterable[Run]) -> list[Run]:
    """The runs under the policy of their method and setting, without those that were not evaluated under it.

    The policy is the method's own if any run has it, else the one with most training seeds; of equals the one that a grid names
    first, then the first by name. Runs without policies are returned as they are.
    """
    runs = list(runs)
    groups: dict[object, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.setting, run.method), []).append(run)
    chosen = {key: _policy(of_method) for key, of_method in groups.items()}
    policies = [chosen[run.setting, run.method] for run in runs]
    return [
        run.under(policy) if run.policies else run
        for run, policy in zip(runs, policies, strict=True)
        if policy in run.policies or not run.policies
    ]


def _policy(runs: list[Run]) -> str:
    """The policy of runs of one method in one setting; empty if they have none."""
    own = {run.record.own_policy for run in runs}
    seeds: dict[str, set[int]] = {}
    place: dict[str, int] = {}
    for run in runs:
        for number, policy in enumerate(run.policies):
            seeds.setdefault(policy, set()).add(run.seed)
            place[policy] = min(number, place.get(policy, number))
    return min(seeds, key=lambda policy: (policy not in own, -len(seeds[policy]), place[policy], policy), default="")
