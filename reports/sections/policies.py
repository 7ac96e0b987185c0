"""Other exit policies on the same scores, if the grid has several."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.blocks import Block, Shown, Text
from reports.captioned import noted
from reports.comparison_group import DROP, HALF, of_setting
from reports.names import without_order
from reports.sections.shift import is_shifted
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, percent, plus_minus, times
from reports.words import join
from results.tables.points import summary

MANY = 24
"""Most rows of a table with speed-ups; with more, a table has methods and policies on its two sides, and accuracies alone."""


def other_policies(study: Study) -> list[Block]:
    """Every method under every policy. With only one method the main results show this already."""
    in_results, evaluated = (
        {(run.setting, run.method, policy) for run in runs for policy in run.policies}
        for runs in (study.judged, study.runs)
    )
    if in_results == evaluated:
        return []
    blocks: list[Block] = []
    for setting in study.main:
        runs = [
            run
            for run in of_setting(study.runs, tuple(setting.where.values()))
            if run.has_exits and not is_shifted(run)
        ]
        ids = {run.record.run_id for run in runs}
        rows = study.points[study.points["run_id"].isin(ids) & study.points["kind"].isin([DROP[0], HALF[0], "fixed"])]
        rows = rows.assign(policy=rows["policy"].map(without_order))
        rules = list(dict.fromkeys(rows["policy"]))
        if len(rules) < 2:
            continue
        totals = _means(summary(rows))
        half = totals[(totals["kind"] == HALF[0]) & (totals["target"] == HALF[1])]
        drop = totals[(totals["kind"] == DROP[0]) & (totals["target"] == DROP[1])]
        methods = [m for m in dict.fromkeys(rows["method"]) if m in {*half["method"], *drop["method"]}]
        in_orders = any(study.points["policy"].map(without_order) != study.points["policy"])
        orders = " running-quantile: mean over its orders." if in_orders else ""
        if len(methods) * len(rules) > MANY:
            reached = set(half.loc[half["reached"], "policy"])
            never = [rule for rule in rules if rule not in reached]
            caption = (
                f"Test {setting.metric.name} (%) at half of the MACs by method and policy{study.where(setting)}. Bold: the "
                f"highest of a method. points.csv has intervals and other points.{orders}"
                + (f" No method reaches half of the MACs with {join(never)}." if never else "")
            )
            table = _crossed(half, methods, [rule for rule in rules if rule in reached], study.display)
            shown = Shown(noted(caption, setting.metric), table, source=source(runs, "points"))
        else:
            caption = (
                f"Test {setting.metric.name} (%) at half of the MACs by policy{study.where(setting)}; Layers, MACs: the "
                f"speed-up where at most 1 point is lost on val. ±: half of the 95 % interval.{orders}"
            )
            table = Table(
                ("Method and policy", "½ MACs", "Layers", "MACs"), _listed(half, drop, methods, rules, study.display)
            )
            shown = Shown(noted(caption, setting.metric), table, source=source(runs, "points"))
        blocks.append(shown)
    if not blocks:
        return []
    own = list(dict.fromkeys(policy for run in study.judged if run.has_exits for policy in run.policies))
    text = (
        "Section 2 uses one policy per method: its own, or else the one with most training seeds, of equals the first of the "
        f"grid ({', '.join(own)}). The table has all."
    )
    return [Text(text), *blocks]


def _means(totals: pd.DataFrame) -> pd.DataFrame:
    """Means over orders of the images, which have one policy."""
    keys = ["method", "policy", "kind", "target"]
    means = totals.groupby(keys, sort=False)[["accuracy", "low", "high", "layer_speedup", "mac_speedup"]].mean()
    return means.join(totals.groupby(keys, sort=False)["reached"].all()).reset_index()


def _listed(
    half: pd.DataFrame, drop: pd.DataFrame, methods: list[str], rules: list[str], names: Mapping[str, str]
) -> tuple[tuple[str, ...], ...]:
    """One row per method and policy."""
    cells: list[tuple[str, ...]] = []
    for method in methods:
        for rule in rules:
            at, fast = (t[(t["method"] == method) & (t["policy"] == rule) & t["reached"]] for t in (half, drop))
            if not at.empty or not fast.empty:
                speed = (
                    [DASH] * 2 if fast.empty else [times(fast.iloc[0][f"{name}_speedup"]) for name in ("layer", "mac")]
                )
                cells.append((f"{names[method]}, {rule}", DASH if at.empty else plus_minus(at.iloc[0]), *speed))
    return tuple(cells)


def _crossed(half: pd.DataFrame, methods: list[str], rules: list[str], names: Mapping[str, str]) -> Table:
    """Methods against policies; the fewer are the columns."""
    accuracy = half[half["reached"]].set_index(["method", "policy"])["accuracy"]
    is_tall = len(methods) > len(rules)
    first, second = (methods, rules) if is_tall else (rules, methods)
    rows, bold = [], set()
    for r, one in enumerate(first):
        cells = [names.get(one, one)]
        for c, other in enumerate(second, start=1):
            key = (one, other) if is_tall else (other, one)
            cells.append(percent(accuracy[key]) if key in accuracy.index else DASH)
            if key in accuracy.index and accuracy[key] == accuracy[key[0]].max():
                bold.add((r, c))
        rows.append(tuple(cells))
    header = ("Method" if is_tall else "Policy", *(names.get(other, other) for other in second))
    return Table(header, tuple(rows), frozenset(bold))
