"""Shows sweeps: a row for each run, policy and operating point, or a ranking of the policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark.text_table import text_table, wrapped
from results.judge.policy_ranking import RankedPolicy
from results.metric import AP, MIOU, Metric, one_metric

HEADINGS = {"layer_speedup": "layers", "mac_speedup": "MACs", "budget_drift": "drift", "falls_0.1": "falls"}
OPTIONAL = ("thresholds", "falls", "drift", "drop", "layers")
"""Columns that are left out first where the terminal is too narrow."""
LEGEND = {
    "accuracy": "accuracy: % of the test images.",
    "mIoU": f"mIoU: in %, on test; {MIOU.note}",
    "AP": f"AP: in %, on test; {AP.note}",
    "drop": "drop: against the backbone without exits, in points.",
    "layers": "layers: speed-up as depth over mean exit block.",
    "MACs": "MACs: speed-up in MACs, with every evaluated head.",
    "drift": "drift: cost on test of the thresholds that cost the budget on val, over the budget.",
    "falls": "falls: % of the test images whose probability of the true class falls along the exits by more than 0.1.",
}
NOT_REACHED = (
    "-: the policy does not reach the point: with exits, no threshold keeps the drop on val, or none costs as little or as "
    "much as the budget on val and test."
)


def points(table: pd.DataFrame, width: int) -> list[str]:
    """The lines of a table of operating points; with several datasets, of one for each, below its name.

    Args:
        table: rows of `benchmark.evaluation.stored_sweeps.evaluate_policies`.
        width: of the terminal, in characters.
    """
    shown = table.copy()
    shown["point"] = [
        f"{kind} {target:g}" if target else kind for kind, target in zip(table["point"], table["target"], strict=True)
    ]
    shown["thresholds"] = shown["thresholds"].astype(object)  # numbers where no point is reached
    for column in ("accuracy", "drop"):
        shown[column] = (100 * table[column]).map("{:.1f}".format)
    for column in ("layer_speedup", "mac_speedup"):
        shown[column] = table[column].map("{:.2f}x".format)
    shown["budget_drift"] = table["budget_drift"].map("{:.3f}".format).where(table["budget_drift"].notna(), "-")
    shown["falls_0.1"] = (100 * table["falls_0.1"]).map("{:.1f}".format).where(table["falls_0.1"].notna(), "-")
    columns = ["thresholds", "accuracy", "drop", "layer_speedup", "mac_speedup"]
    missed = table["accuracy"].isna()
    shown.loc[missed, columns] = "-"
    columns = ["method", "policy", "point", *columns, "budget_drift", "falls_0.1"]
    lines, headings = [], set()
    for (dataset, metric), rows in shown.groupby(["dataset", "metric"], sort=False):
        own = HEADINGS | {"accuracy": str(metric)}
        cells = {own.get(name, name): rows[name].astype(str).tolist() for name in columns}
        of_dataset = _narrow(cells, width)
        headings |= {word for line in of_dataset for word in line.split() if word in LEGEND}
        lines += [*([f"{dataset}:"] if table["dataset"].nunique() > 1 else []), *of_dataset, ""]
    legend = ["Thresholds are chosen on val.", *(text for name, text in LEGEND.items() if name in headings)]
    if missed.any():
        legend.append(NOT_REACHED)
    return [*lines, *wrapped(" ".join(legend), width)]


def _narrow(cells: dict[str, list[str]], width: int) -> list[str]:
    """The lines of a table; where it is too wide without its optional columns, of one for each method, below its name."""
    lines = text_table(cells, width, optional=OPTIONAL, right=[*LEGEND])
    if len(lines[0]) <= width and max(map(len, lines)) <= width:
        return lines
    lines = []
    for method in dict.fromkeys(cells["method"]):
        rows = [i for i, name in enumerate(cells["method"]) if name == method]
        own = {name: [values[i] for i in rows] for name, values in cells.items() if name != "method"}
        lines += [f"  {method}:", *text_table(own, width, optional=OPTIONAL, right=[*LEGEND])]
    return lines


def ranking(
    ranked: Mapping[str, Sequence[RankedPolicy]],
    metrics: Mapping[str, Metric],
    left_out: Mapping[str, Sequence[str]],
    budget: float,
    width: int,
) -> list[str]:
    """The lines of a ranking: for each setting the policies, the best first.

    Args:
        ranked: by the name of the setting.
        metrics: likewise.
        left_out: policies that do not reach the budget in every run, likewise.
        budget: mean MACs over those of the backbone.
        width: of the terminal, in characters.
    """
    lines = wrapped(f"Policies at {budget:g} of the backbone's MACs, the best first.", width)
    for setting, policies in ranked.items():
        lines += ["", *wrapped(setting, width)]
        cells = {
            "policy": [row.policy for row in policies],
            metrics[setting].name: [_interval(row.accuracy, row.low, row.high) for row in policies],
            "to the best": [_to_best(row) for row in policies],
            "p": ["" if row.to_best is None else _p(row.to_best.p) for row in policies],
            "": ["tie" if row.ties else "" for row in policies],
        }
        lines += text_table(cells, width, optional=[metrics[setting].name])
        if left_out.get(setting):
            lines += wrapped(f"not at this cost: {', '.join(left_out[setting])}", width)
    compared = [row.to_best for policies in ranked.values() for row in policies if row.to_best is not None]
    pairs = f" over all {compared[0].tests} pairs of policies" if compared else ""
    over = {contrast.estimate.kind for contrast in compared}
    titles = dict.fromkeys(metrics[setting].title for setting in ranked)
    legend = (
        f"{' and '.join(titles)} in % on test, and paired difference to the best policy in points, with 95 % intervals over "
        f"test samples{' (differences: over seeds)' if over == {'seeds'} else ''}. p by the exact sign-flip test (over five "
        f"or more seeds also by the t test), with Holm's correction{pairs}. tie: not shown to differ "
        "from the best. The thresholds around the budget come from val; on test two of them are mixed so that the cost is "
        f"exact. {one_metric(metrics[setting] for setting in ranked).explained()}"
    )
    return [*lines, "", *wrapped(legend.rstrip(), width)]


def as_table(ranked: Mapping[str, Sequence[RankedPolicy]], budget: float) -> pd.DataFrame:
    """The ranking as a table with one row per setting and policy."""
    rows = []
    for setting, policies in ranked.items():
        for rank, row in enumerate(policies, start=1):
            values = {
                "setting": setting,
                "budget": budget,
                "rank": rank,
                "policy": row.policy,
                "accuracy": row.accuracy,
            }
            values |= {"low": row.low, "high": row.high}
            if row.to_best is not None:
                estimate = row.to_best.estimate
                values |= {
                    "difference": estimate.value,
                    "difference_low": estimate.low,
                    "difference_high": estimate.high,
                }
                values |= {"p": row.to_best.p, "tie": row.ties, "seeds": row.to_best.seeds}
            rows.append(values)
    return pd.DataFrame(rows)


def _to_best(row: RankedPolicy) -> str:
    if row.to_best is None:
        return "best"
    estimate = row.to_best.estimate
    return f"{_points(estimate.value):+.1f} [{_points(estimate.low):.1f}, {_points(estimate.high):.1f}]"


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _points(value: float) -> float:
    """In points, without a negative zero."""
    return round(100 * value, 1) + 0.0


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
