"""Who leads: pairs of methods pooled over training seeds, and what may be ranked by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from results.stats.statistics import LEVEL, POWER, over_seeds
from results.tables.run import SETTING

PAIR = ["kind", "target", "first", "second"]


def pooled(comparisons: pd.DataFrame) -> pd.DataFrame:
    """`results.tables.points.comparisons` over seeds: one row a pair and point.

    Columns: the setting's as far as they are there, kind, target, first, second, difference, low, high, detectable, seeds. With
    one seed all is over test samples; with more, the interval is the t interval over seeds and the detectable difference
    (t_0.975 + t_0.8) s / sqrt(n), both with n - 1 degrees of freedom.
    """
    rows = []
    names = [*(name for name in SETTING if name in comparisons), *PAIR]
    for keys, group in _one_way_round(comparisons).groupby(names, sort=False):
        row = dict(zip(names, keys, strict=True)) | {"seeds": len(group), "difference": group["difference"].mean()}
        if len(group) == 1:
            row |= {name: group.iloc[0][name] for name in ("low", "high", "detectable")}
        else:
            row["low"], row["high"] = over_seeds(group["difference"].tolist())
            row["detectable"] = detectable_over_seeds(group["difference"].to_numpy())
        rows.append(row)
    return pd.DataFrame(rows, columns=[*names, "difference", "low", "high", "detectable", "seeds"])


def _one_way_round(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The same pairs, each with the same method first in every seed."""
    order = {name: i for i, name in enumerate(dict.fromkeys([*comparisons["first"], *comparisons["second"]]))}
    turned = comparisons["first"].map(order) > comparisons["second"].map(order)
    if not turned.any():
        return comparisons
    table = comparisons.copy()
    columns = ["first", "second", "difference", "low", "high"]
    swapped = table.loc[turned, ["second", "first", "difference", "high", "low"]].set_axis(columns, axis=1)
    swapped[columns[2:]] *= -1
    table.loc[turned, columns] = swapped
    return table


def detectable_over_seeds(differences: np.ndarray) -> float:
    """The smallest true difference that a paired two-sided t test over these seeds finds with power 80 %, roughly."""
    from scipy.stats import t

    freedom = len(differences) - 1
    factor = t.ppf((1 + LEVEL) / 2, freedom) + t.ppf(POWER, freedom)
    return float(factor * differences.std(ddof=1) / np.sqrt(len(differences)))


def is_told_apart(difference: float, low: float, high: float, detectable: float) -> bool:
    """Whether a difference may be ranked: its interval excludes zero and it is at least the detectable one."""
    return not low <= 0 <= high and abs(difference) >= detectable


def leads(pairs: pd.DataFrame, method: str, others: Sequence[str] | None = None) -> bool:
    """Whether a method is ahead of every other one that it faces, beyond what can be told apart.

    Args:
        pairs: of `pooled`, at one point.
        method: a label.
        others: those it must be ahead of; all that it faces if None.
    """
    facing = pairs[(pairs["first"] == method) | (pairs["second"] == method)]
    if others is not None:
        facing = facing[facing["first"].isin(others) | facing["second"].isin(others)]
    if facing.empty:
        return False
    return all(
        (row["difference"] > 0) == (row["first"] == method)
        and is_told_apart(row["difference"], row["low"], row["high"], row["detectable"])
        for _, row in facing.iterrows()
    )


def best_and_second(pairs: pd.DataFrame, methods: Sequence[str]) -> tuple[str | None, str | None]:
    """The method that leads all others, and the one that leads all but it; None where nobody does."""
    best = next((name for name in methods if leads(pairs, name)), None)
    if best is None:
        return None, None
    rest = [name for name in methods if name != best]
    # Against one other alone there is no second to be ahead of anyone.
    return best, next((name for name in rest if len(rest) > 1 and leads(pairs, name, _without(rest, name))), None)


def _without(names: list[str], name: str) -> list[str]:
    return [other for other in names if other != name]
