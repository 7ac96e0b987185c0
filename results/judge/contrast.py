"""The difference of two variants on the same test images, paired by seed."""

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
    """Accuracy of the first variant minus that of the second.

    Attributes:
        estimate: over seeds if there are enough for a headline, else over test samples.
        detectable: the smallest true difference that these seeds or samples can detect.
    """

    estimate: Estimate
    detectable: float

    @property
    def told_apart(self) -> bool:
        return is_told_apart(self.estimate.value, self.estimate.low, self.estimate.high, self.detectable)


def contrast(first: Sequence[tuple[Run, str]], second: Sequence[tuple[Run, str]]) -> Contrast | None:
    """
    Args:
        first: runs, each with the name of its operating point; one per seed.
        second: the same for the second variant.

    Returns:
        None if they share no seed, or the test images differ.
    """
    second_by_seed = {run.seed: (run, point) for run, point in second}
    differences = []
    for run, point in first:
        if run.seed not in second_by_seed:
            continue
        other, at = second_by_seed[run.seed]
        difference = paired(run, point, other, at)
        if difference is None:
            return None
        differences.append(difference)
    if not differences:
        return None
    estimate = paired_difference(differences)
    means = np.array([difference.mean() for difference in differences])
    detectable = (
        detectable_over_seeds(means)
        if estimate.kind == "seeds"
        else detectable_difference(np.mean(differences, axis=0))
    )
    return Contrast(estimate, detectable)
