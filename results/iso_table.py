"""The table of speed-ups at equal accuracy, over runs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from results.iso_accuracy import Corners, costs_to_reach, iso_accuracy
from results.table import SETTING, STATIC, Run, comparable, labels

COLUMNS = [*SETTING, "seed", "drop", "first", "second", "speedup", "low", "high", "unreached"]


def iso_table(runs: list[Run], drop: float = 0.01) -> pd.DataFrame:
    """Every run and policy against the backbone without exits, and every pair of methods under one policy
    or each under its own.

    Columns: the setting's, seed, drop (against the backbone without exits), first, second (labels), speedup (MACs of the second
    over MACs of the first), its interval over test samples (low, high), unreached (share of replicates).
    """
    named = labels(runs)
    contenders = [
        (run, policy)
        for run in runs
        if run.has_exits
        for policy in dict.fromkeys(point.policy for point in run.record.points)
        if len(run.corners[run.corners["policy"] == policy]["threshold"].unique()) > 1
    ]
    costs = {}
    rows = []
    for run, policy in contenders:
        static = run.correct(STATIC).to_numpy() > 0
        name = named[run.record.run_id, policy]
        costs[run.record.run_id, policy] = mine = costs_to_reach(_corners(run, policy), static, drop)
        # The backbone without exits costs 1 and always reaches its own accuracy.
        rows.append(_row(run, drop, name, STATIC, mine, np.ones(len(mine))))
    for (first, one), (second, other) in combinations(contenders, 2):
        same = (*first.setting, first.seed) == (*second.setting, second.seed)
        if not same or first is second or not comparable(first, one, second, other):
            continue
        names = named[first.record.run_id, one], named[second.record.run_id, other]
        rows.append(_row(first, drop, *names, costs[first.record.run_id, one], costs[second.record.run_id, other]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(run: Run, drop: float, first: str, second: str, one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    where: dict[str, object] = dict(zip([*SETTING, "seed"], (*run.setting, run.seed), strict=True))
    return where | {"drop": drop, "first": first, "second": second, **vars(iso_accuracy(one, other))}


def _corners(run: Run, policy: str) -> Corners:
    """Samples in ascending order of their ids; costs as shares of the MACs without exits."""
    assert run.record.costs is not None
    rows = run.corners[run.corners["policy"] == policy].sort_values(["threshold", "sample_id"], kind="stable")
    count = rows["threshold"].nunique()
    prices = np.array(run.record.costs.cumulative) / run.record.costs.baseline
    return Corners(rows["right"].to_numpy().reshape(count, -1), prices[rows["exit"].to_numpy()].reshape(count, -1))
