"""Two ways to do one thing, compared on the same test images, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.judge.ranking import detectable_over_seeds, is_told_apart
from results.judge.verdicts import Estimate, paired_difference
from results.stats.statistics import detectable_difference
from results.tables.run import Run, paired


@dataclass(frozen=True)
class Contrast:
    """Accuracy of the first less that of the second.

    Attributes:
        estimate: over seeds where there are enough for a headline, else over test samples.
        detectable: the smallest true difference that these seeds or samples would show.
    """

    estimate: Estimate
    detectable: float

    @property
    def told_apart(self) -> bool:
        return is_told_apart(self.estimate.value, self.estimate.low, self.estimate.high, self.detectable)


def contrast(first: Sequence[tuple[Run, str]], second: Sequence[tuple[Run, str]]) -> Contrast | None:
    """
    Args:
        first: runs with the name of the operating point at which each is asked, one a seed.
        second: likewise.

    Returns:
        None if no seed is in both, or the test images differ.
    """
    facing = {run.seed: (run, point) for run, point in second}
    differences = []
    for run, point in first:
        if run.seed not in facing:
            continue
        other, at = facing[run.seed]
        difference = paired(run, point, other, at)
        if difference is None:
            return None
        differences.append(difference)
    if not differences:
        return None
    estimate = paired_difference(differences)
    means = np.array([found.mean() for found in differences])
    detectable = (
        detectable_over_seeds(means)
        if estimate.kind == "seeds"
        else detectable_difference(np.mean(differences, axis=0))
    )
    return Contrast(estimate, detectable)
