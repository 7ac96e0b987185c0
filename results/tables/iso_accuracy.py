"""The table of speed-ups at equal accuracy, over runs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from results.stats.iso_accuracy import Corners, costs_to_reach, iso_accuracy
from results.tables.points import comparable
from results.tables.run import SETTING, STATIC, Run, are_paired, labels

AT_ONCE = 16
COLUMNS = [*SETTING, "seed", "drop", "first", "second", "speedup", "low", "high", "unreached"]


def iso_table(runs: list[Run], drop: float = 0.01) -> pd.DataFrame:
    """Every run and policy against the backbone without exits, and every pair of methods under one policy
    or each under its own.

    Columns: the setting's, seed, drop (against the backbone without exits), first, second (labels), speedup (MACs of the second
    over MACs of the first), its interval over test samples (low, high), unreached (share of replicates).
    """
    named = labels(runs)
    costs = _costs(runs, drop)
    together: dict[tuple[object, ...], list[tuple[Run, str]]] = {}
    rows = []
    for run in runs:
        for policy in dict.fromkeys(point.policy for point in run.record.points) if run.has_exits else ():
            mine = costs.get((run.record.run_id, policy))
            if mine is None:
                continue
            together.setdefault((*run.setting, run.seed), []).append((run, policy))
            # The backbone without exits costs 1 and always reaches its own accuracy.
            rows.append(_row(run, drop, named[run.record.run_id, policy], STATIC, mine, np.ones(len(mine))))
    for contenders in together.values():
        for (first, one), (second, other) in combinations(contenders, 2):
            if first is second or not comparable(first, one, second, other):
                continue
            if not are_paired(first, STATIC, second, STATIC):
                continue
            keys = (first.record.run_id, one), (second.record.run_id, other)
            names = named[keys[0]], named[keys[1]]
            rows.append(_row(first, drop, *names, costs[keys[0]], costs[keys[1]]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _costs(runs: list[Run], drop: float) -> dict[tuple[str, str], np.ndarray]:
    """`costs_to_reach` of every run and policy that has a curve, `AT_ONCE` at a time."""
    waiting: dict[int, list[tuple[tuple[str, str], Corners, np.ndarray]]] = {}
    costs: dict[tuple[str, str], np.ndarray] = {}

    def work_off(some: list[tuple[tuple[str, str], Corners, np.ndarray]]) -> None:
        names, corners, static = zip(*some, strict=True)
        costs.update(zip(names, costs_to_reach(corners, static, drop), strict=True))
        some.clear()

    for run in runs:
        for policy in dict.fromkeys(point.policy for point in run.record.points) if run.has_exits else ():
            corners = _corners(run, policy)
            if len(corners.right) >= 2:
                some = waiting.setdefault(corners.right.shape[1], [])
                some.append(((run.record.run_id, policy), corners, run.point_outcomes[STATIC].share_right > 0))
                if len(some) == AT_ONCE:
                    work_off(some)
    for some in waiting.values():
        if some:
            work_off(some)
    return costs


def _row(run: Run, drop: float, first: str, second: str, one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    where: dict[str, object] = dict(zip([*SETTING, "seed"], (*run.setting, run.seed), strict=True))
    return where | {"drop": drop, "first": first, "second": second, **vars(iso_accuracy(one, other))}


def _corners(run: Run, policy: str) -> Corners:
    """Samples in ascending order of their ids; costs as shares of the MACs without exits."""
    found = run.hull_outcomes.get(policy)
    if found is None:
        return Corners(np.empty((0, 0), dtype=bool), np.empty((0, 0)))
    prices = np.array(run.record.costs.cumulative) / run.record.costs.baseline
    return Corners(found.right, prices[found.exit])
