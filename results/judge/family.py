"""One method against all others of its setting at equal MACs.

Claims, tables and sentences all read these contrasts, so that a difference has the same verdict everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from results.judge.contrast import Contrast, Family, Seeds, contrast, corrected
from results.spec import PrimaryEndpoint
from results.tables.pairing import have_equal_images
from results.tables.points import comparable
from results.tables.run import Run

Contender = Mapping[int, tuple[Run, str]]
"""The runs of a method by training seed, each with the policy that decides on its exits."""


def contenders(rows: Iterable[tuple[str, Run, str]]) -> dict[str, Contender]:
    """The contenders of a setting by label.

    Args:
        rows: label, run and policy. Of two runs with the same label and seed the first by id counts: the same training under a
            second id is no further evidence.
    """
    by_label: dict[str, dict[int, tuple[Run, str]]] = {}
    for label, run, policy in rows:
        seeds = by_label.setdefault(label, {})
        if run.seed not in seeds or run.record.run_id < seeds[run.seed][0].record.run_id:
            seeds[run.seed] = run, policy
    return dict(by_label)


def against_others(reference: str, among: Mapping[str, Contender]) -> dict[tuple[str, float], Contrast]:
    """The reference minus every other contender, at every budget of the reference.

    The families are corrected each by itself: the comparisons that the grid declared as primary, if it did; those with other
    methods; and those with other options of the reference's own method.

    Returns:
        by label of the other contender and budget (share of the MACs of the backbone without exits), in the order of
        ``among``. A pair that cannot be compared is absent: other images, policies that are not comparable, or no seed
        in which both reach the budget.
    """
    own = among[reference]
    method, declared = _method(own), primary_endpoint(own)
    families: dict[Family, dict[tuple[str, float], Contrast]] = {"primary": {}, "other methods": {}, "variants": {}}
    for label, other in among.items():
        if label == reference or not _comparable(own, other):
            continue
        for budget in budgets(own):
            result = contrast(*(at_point(side, "equal-macs", budget) for side in (own, other)))
            if result is None:
                continue
            family: Family = "variants" if _method(other) == method else "other methods"
            if declared is not None and budget == declared.macs and _is_judged_as(other, declared.against):
                family = "primary"
            families[family][label, budget] = replace(result, family=family)
    tested = {key: result for comparisons in families.values() for key, result in corrected(comparisons).items()}
    return {
        (label, budget): tested[label, budget]
        for label in among
        for budget in budgets(own)
        if (label, budget) in tested
    }


def primary_endpoint(contender: Contender) -> PrimaryEndpoint | None:
    """The primary endpoint that the grid declared for this contender; None if it declared none, or if the records differ."""
    declared = {run.record.spec.primary for run, _ in contender.values()}
    endpoint = declared.pop() if len(declared) == 1 else None
    return endpoint if endpoint is not None and _is_judged_as(contender, (endpoint.method,)) else None


def budgets(contender: Contender) -> list[float]:
    """The budgets of a contender's points at equal MACs, in ascending order."""
    points = (point for run, _ in contender.values() for point in run.record.points)
    return sorted({point.target for point in points if point.kind == "equal-macs"})


def at_point(contender: Contender, kind: str, target: float) -> Seeds:
    """The runs, each with the name of its operating point of a kind and target."""
    return {
        seed: (run, point.name if (point := run.point(policy, kind, target)) else None)
        for seed, (run, policy) in contender.items()
    }


def _is_judged_as(contender: Contender, methods: Collection[str]) -> bool:
    """Whether the contender is one of these methods, under the policy that judges it."""
    return all(run.method in methods and policy == run.judged_policy for run, policy in contender.values())


def _method(contender: Contender) -> str:
    return next(iter(contender.values()))[0].record.spec.train.method.name


def _comparable(first: Contender, second: Contender) -> bool:
    """Whether the two have the same images and comparable policies in every seed."""
    return all(
        have_equal_images(run, other) and comparable(run, policy, other, against)
        for seed in set(first) & set(second)
        for (run, policy), (other, against) in [(first[seed], second[seed])]
    )
