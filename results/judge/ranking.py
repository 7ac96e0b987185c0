"""Ranks methods by paired differences, pooled over training seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from results.stats.statistics import LEVEL, POWER, over_seeds
from results.tables.run import SETTING

PAIR = ["kind", "target", "first", "second"]


def pooled(comparisons: pd.DataFrame) -> pd.DataFrame:
    """`results.tables.points.comparisons` over seeds: one row a pair and point.

    Columns: those of the setting that it has, kind, target, first, second, difference, low, high, detectable, seeds. With
    one seed everything is over test samples; with more, the interval is the t interval over seeds and the detectable difference
    (t_0.975 + t_0.8) s / sqrt(n), both with n - 1 degrees of freedom.
    """
    rows = []
    names = [*(name for name in SETTING if name in comparisons), *PAIR]
    for keys, group in _same_order(comparisons).groupby(names, sort=False):
        row = dict(zip(names, keys, strict=True)) | {"seeds": len(group), "difference": group["difference"].mean()}
        if len(group) == 1:
            row |= {name: group.iloc[0][name] for name in ("low", "high", "detectable")}
        else:
            row["low"], row["high"] = over_seeds(group["difference"].tolist())
            row["detectable"] = detectable_over_seeds(group["difference"].to_numpy())
        rows.append(row)
    return pd.DataFrame(rows, columns=[*names, "difference", "low", "high", "detectable", "seeds"])


def _same_order(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The pairs, with the same method first in every seed."""
    order = {name: i for i, name in enumerate(dict.fromkeys([*comparisons["first"], *comparisons["second"]]))}
    reversed_pairs = comparisons["first"].map(order) > comparisons["second"].map(order)
    if not reversed_pairs.any():
        return comparisons
    table = comparisons.copy()
    columns = ["first", "second", "difference", "low", "high"]
    swapped = table.loc[reversed_pairs, ["second", "first", "difference", "high", "low"]].set_axis(columns, axis=1)
    swapped[columns[2:]] *= -1
    table.loc[reversed_pairs, columns] = swapped
    return table


def detectable_over_seeds(differences: np.ndarray) -> float:
    """The smallest true difference that a paired two-sided t test over these seeds detects with power 80 %, approximately."""
    from scipy.stats import t

    freedom = len(differences) - 1
    factor = t.ppf((1 + LEVEL) / 2, freedom) + t.ppf(POWER, freedom)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def is_told_apart(difference: float, low: float, high: float, detectable: float) -> bool:
    """Whether a difference is significant: its interval excludes zero and it is at least the detectable difference."""
    return not low <= 0 <= high and abs(difference) >= detectable


def leads(pairs: pd.DataFrame, method: str, others: Sequence[str] | None = None) -> bool:
    """Whether a method is significantly better than every other method that it is compared with.

    Args:
        pairs: of `pooled`, at one point.
        method: a label.
        others: the methods to beat; all if None.
    """
    rows = pairs[(pairs["first"] == method) | (pairs["second"] == method)]
    if others is not None:
        rows = rows[rows["first"].isin(others) | rows["second"].isin(others)]
    if rows.empty:
        return False
    return all(
        (row["difference"] > 0) == (row["first"] == method)
        and is_told_apart(row["difference"], row["low"], row["high"], row["detectable"])
        for _, row in rows.iterrows()
    )


def best_and_second(pairs: pd.DataFrame, methods: Sequence[str]) -> tuple[str | None, str | None]:
    """The method that leads all others, and the one that leads all others but the best; None where no method does."""
    best = next((name for name in methods if leads(pairs, name)), None)
    if best is None:
        return None, None
    rest = [name for name in methods if name != best]
    # With only one other method there is no second place.
    return best, next((name for name in rest if len(rest) > 1 and leads(pairs, name, _without(rest, name))), None)


def _without(names: list[str], name: str) -> list[str]:
    return [other for other in names if other != name]
