"""The table of speed-ups at equal accuracy, over runs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from results.operating_point import DROP
from results.stats.iso_accuracy import Corners, costs_to_reach, iso_accuracy
from results.tables.pairing import are_paired
from results.tables.points import comparable
from results.tables.row_labels import labels
from results.tables.run import SETTING, STATIC, Run

BATCH = 16
COLUMNS = [*SETTING, "seed", "drop", "first", "second", "speedup", "low", "high", "unreached"]


def iso_table(runs: list[Run]) -> pd.DataFrame:
    """Comparisons of each run and policy with the backbone without exits, and of pairs of methods.

    A pair of methods has the same policy, or each method its own. Columns: those of `SETTING`, seed, drop (against the backbone
    without exits), first, second (labels), speedup (MACs of the second over MACs of the first), its interval over test samples
    (low, high), unreached (share of replicates).
    """
    names = labels(runs)
    costs = _costs(runs)
    groups: dict[tuple[object, ...], list[tuple[Run, str]]] = {}
    rows = []
    for run in runs:
        for policy in run.policies if run.has_exits else ():
            own_costs = costs.get((run.record.run_id, policy))
            if own_costs is None:
                continue
            groups.setdefault((*run.setting, run.seed), []).append((run, policy))
            # The backbone without exits costs 1 and always reaches its own accuracy.
            rows.append(_row(run, names[run.record.run_id, policy], STATIC, own_costs, np.ones(len(own_costs))))
    for group in groups.values():
        for (first, one), (second, other) in combinations(group, 2):
            if first is second or not comparable(first, one, second, other):
                continue
            if not are_paired(first, STATIC, second, STATIC):
                continue
            keys = (first.record.run_id, one), (second.record.run_id, other)
            rows.append(_row(first, names[keys[0]], names[keys[1]], costs[keys[0]], costs[keys[1]]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _costs(runs: list[Run]) -> dict[tuple[str, str], np.ndarray]:
    """`costs_to_reach` of every run and policy that has a curve, `BATCH` at a time."""
    batches: dict[int, list[tuple[tuple[str, str], Corners, np.ndarray]]] = {}
    costs: dict[tuple[str, str], np.ndarray] = {}

    def flush(batch: list[tuple[tuple[str, str], Corners, np.ndarray]]) -> None:
        names, corners, static = zip(*batch, strict=True)
        costs.update(zip(names, costs_to_reach(corners, static, DROP), strict=True))
        batch.clear()

    for run in runs:
        for policy in run.policies if run.has_exits else ():
            corners = _corners(run, policy)
            if len(corners.values) >= 2:
                batch = batches.setdefault(corners.values.shape[1], [])
                batch.append(((run.record.run_id, policy), corners, run.values(STATIC)))
                if len(batch) == BATCH:
                    flush(batch)
    for batch in batches.values():
        if batch:
            flush(batch)
    return costs


def _row(run: Run, first: str, second: str, one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    where: dict[str, object] = dict(zip([*SETTING, "seed"], (*run.setting, run.seed), strict=True))
    return where | {"drop": DROP, "first": first, "second": second, **vars(iso_accuracy(one, other))}


def _corners(run: Run, policy: str) -> Corners:
    """The corners of a policy's hull; costs are shares of the MACs without exits."""
    outcomes = run.hull_outcomes.get(policy)
    if outcomes is None:
        return Corners(np.empty((0, 0), dtype=bool), np.empty((0, 0)))
    return Corners(outcomes.values, run.relative_costs[outcomes.exit])
