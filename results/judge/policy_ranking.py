"""Ranks exit policies at equal cost on the same scores, each compared with the best one of its setting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from results.judge.contrast import OPEN, Contrast, corrected, of_differences
from results.metric import ACCURACY, Metric

Setting = TypeVar("Setting", bound=Hashable)


@dataclass(frozen=True)
class RankedPolicy:
    """A policy in a ranking.

    Attributes:
        policy: its label.
        accuracy, low, high: mean over seeds and test samples, with its 95 % interval over test samples.
        to_best: its accuracy minus that of the best policy; None for the best one.
    """

    policy: str
    accuracy: float
    low: float
    high: float
    to_best: Contrast | None

    @property
    def ties(self) -> bool:
        """Whether it is not shown to differ from the best policy."""
        return self.to_best is not None and self.to_best.result == OPEN


def rank_policies(
    correct: Mapping[Setting, Mapping[str, Sequence[np.ndarray]]],
    metrics: Mapping[Setting, Metric] = MappingProxyType({}),
) -> dict[Setting, list[RankedPolicy]]:
    """The policies of each setting, the most accurate first.

    Which policy is best is known only from the results, so Holm's correction covers all pairs of policies in all settings.

    Args:
        correct: by setting and policy, the correctness of every test sample, [N] per training seed, each in [0, 1]. The
            samples and seeds of a setting are the same for all policies. In another task the values of its metric.
        metrics: by setting; accuracy where there is none.
    """
    order = {
        setting: sorted(policies, key=lambda policy: -float(np.mean(policies[policy])))
        for setting, policies in correct.items()
    }
    contrasts = corrected(
        {
            (setting, first, second): of_differences(
                [one - other for one, other in zip(correct[setting][first], correct[setting][second], strict=True)],
                len(correct[setting][first]),
                metrics.get(setting, ACCURACY),
            )
            for setting, policies in order.items()
            for first, second in combinations(policies, 2)
        }
    )

    def to_best(setting: Setting, policy: str) -> Contrast | None:
        best = order[setting][0]
        return None if policy == best else contrasts[setting, best, policy].reversed()

    return {
        setting: [
            _ranked(policy, correct[setting][policy], to_best(setting, policy), metrics.get(setting, ACCURACY))
            for policy in policies
        ]
        for setting, policies in order.items()
    }


def _ranked(policy: str, correct: Sequence[np.ndarray], to_best: Contrast | None, metric: Metric) -> RankedPolicy:
    pooled = np.mean(correct, axis=0)
    return RankedPolicy(policy, float(pooled.mean()), *metric.interval(pooled), to_best)
