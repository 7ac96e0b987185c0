"""Differences of two methods on the same test images, paired by training seed, with one correction for a family of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from results.judge.verdicts import Estimate, Verdict, distinct, paired_difference
from results.metric import ACCURACY, Metric
from results.stats.significance import holm
from results.stats.statistics import (
    LEVEL,
    detectable_difference,
    detectable_over_seeds,
    over_seeds,
)
from results.tables.pairing import are_paired
from results.tables.run import Run, is_ordered

Key = TypeVar("Key", bound=Hashable)
Seeds = Mapping[int, tuple[Run, str | None]]
"""The runs of a method by training seed, each with the name of an operating point; None where the run does not reach it."""
Result = Literal["ahead", "behind", "not shown to differ"]
AHEAD: Result = "ahead"
BEHIND: Result = "behind"
OPEN: Result = "not shown to differ"
Family = Literal["primary", "other methods", "variants"]
"""The comparisons of a method that Holm's correction covers together: declared by the grid; others with other methods; others
with other options of the same method. See `results.judge.family`."""


@dataclass(frozen=True)
class Contrast:
    """Accuracy (or another metric) of the first method minus that of the second.

    Attributes:
        estimate: over seeds if there are enough for a headline, else over test images; its p is not adjusted.
        differences: mean difference of each seed, or of each test image, whichever the estimate is over, [N].
        seeds: training seeds in which both reach the point; copies of one training count once.
        seeds_run: training seeds in which at least one of them was run.
        p: adjusted for the family.
        tests: comparisons in the family.
        family: that Holm's correction covers, if it is one of a setting.
        metric: that was compared.
    """

    estimate: Estimate
    differences: np.ndarray
    seeds: int
    seeds_run: int
    p: float
    tests: int = 1
    family: Family = "other methods"
    metric: Metric = ACCURACY

    @property
    def is_primary(self) -> bool:
        """Whether the grid declared the comparison as its primary endpoint."""
        return self.family == "primary"

    @property
    def result(self) -> Result:
        """Whether the first method is significantly more accurate; open where the seeds of the two are not the same."""
        if self.seeds < self.seeds_run or not self.p < 1 - LEVEL:
            return OPEN
        return AHEAD if self.estimate.low > 0 else BEHIND if self.estimate.high < 0 else OPEN

    def reversed(self) -> Contrast:
        """The second method minus the first."""
        value = self.estimate
        estimate = replace(value, value=-value.value, low=-value.high, high=-value.low)
        return replace(self, estimate=estimate, differences=-self.differences)

    @property
    def simultaneous(self) -> tuple[float, float]:
        """An interval that holds for all comparisons of the family together with 95 %, by Bonferroni's correction."""
        level = 1 - (1 - LEVEL) / self.tests
        if self.estimate.kind == "seeds":
            return over_seeds(self.differences.tolist(), level)
        return self.metric.paired_interval(self.differences, level)

    @property
    def detectable(self) -> float:
        """The smallest true difference that is found significant with a probability of at least 80 %, approximately; after
        Bonferroni's correction, the strictest step of Holm's."""
        of = detectable_over_seeds if self.estimate.kind == "seeds" else detectable_difference
        return of(self.differences, self.tests)


def contrast(first: Seeds, second: Seeds) -> Contrast | None:
    """
    Args:
        first: the runs of the first method.
        second: those of the second.

    Returns:
        None if they share no seed in which both reach their point, or were tested on other images, or if the policy of one
        decides by earlier images (`results.tables.run.is_ordered`).
    """
    pairs = []
    for seed in sorted(set(first) & set(second)):
        (run, point), (other, at) = first[seed], second[seed]
        if point is not None and at is not None and not (_in_order(run, point) or _in_order(other, at)):
            pairs.append(((run, point), (other, at)))
    if not pairs or not all(are_paired(*pairs[0][0], *side) for pair in pairs for side in pair):
        return None
    differences = [run.values(point) - other.values(at) for (run, point), (other, at) in pairs]
    result = of_differences(differences, len(set(first) | set(second)), pairs[0][0][0].metric)
    # A method that is one training under several seeds has as many seeds as different outcomes.
    outcomes = [
        [run.point_outcomes[point].exits_and_answers for run, point in side] for side in zip(*pairs, strict=True)
    ]
    return replace(result, seeds=min(result.seeds, *(distinct(of_side) for of_side in outcomes)))


def _in_order(run: Run, name: str) -> bool:
    return any(point.name == name and is_ordered(point.policy) for point in run.record.points)


def of_differences(differences: Sequence[np.ndarray], seeds_run: int, metric: Metric = ACCURACY) -> Contrast:
    """
    Args:
        differences: of every test sample, [N] per training seed.
        seeds_run: see `Contrast`.
        metric: of which these are differences.
    """
    estimate = paired_difference(differences, metric)
    means = np.mean(differences, axis=1 if estimate.kind == "seeds" else 0)
    return Contrast(estimate, means, distinct(differences), seeds_run, estimate.p, metric=metric)


def corrected(family: Mapping[Key, Contrast]) -> dict[Key, Contrast]:
    """The contrasts with p-values adjusted by Holm over all of them; an incomplete one counts as not significant."""
    p = [contrast.estimate.p if contrast.seeds == contrast.seeds_run else np.nan for contrast in family.values()]
    adjusted = holm(np.array(p))
    return {
        key: replace(contrast, p=float(value), tests=len(family))
        for (key, contrast), value in zip(family.items(), adjusted, strict=True)
    }


def judge_direction(contrasts: Sequence[Contrast]) -> Verdict:
    """Judges "more accurate than every one of these": reproduced when it is ahead in all contrasts, not reproduced when it is
    behind in one, else inconclusive."""
    results = {contrast.result for contrast in contrasts}
    return "reproduced" if results == {AHEAD} else "not reproduced" if BEHIND in results else "inconclusive"
