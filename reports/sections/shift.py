"""What a budget costs on shifted test images, policy by policy."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Shown, Text
from reports.captioned import noted
from reports.comparison_group import HALF
from reports.names import without_order
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, percent
from reports.words import counted
from results.tables.run import Run

TABLE = "drift"


def shifted(study: Study) -> list[Block]:
    """Empty without test sets of the dataset option ``corruption``. Policies are compared over all methods that have them."""
    runs = {run.record.run_id: run for setting in study.main for run in setting.exiting}
    table = study.tidy["budget-drift"]
    if table.empty or not any(map(is_shifted, runs.values())):
        return []
    rows = table[(table["target"] == HALF[1]) & table["run_id"].isin(runs)]
    if rows.empty:
        return []
    rows = rows.assign(policy=rows["policy"].map(without_order))
    rows = rows.assign(shifted=[is_shifted(runs[run_id]) for run_id in rows["run_id"]])
    sets = len({run.dataset for run in runs.values() if is_shifted(run)})
    over = "methods" if sets == 1 else "methods and shifts"
    caption = (
        "Settings that cost half of the MACs of the backbone without exits on val, applied to test, by policy: the cost in % "
        f"of these MACs, mean and range over {over}, and the {study.metric.name} (%) at that cost. budget-drift.csv has every "
        "run."
    )
    short = study.metric.short
    header = ("Policy", "runs", "cost", "range", short, "cost", "range", short)
    groups = (("", 2), ("Test images as they are", 3), ("Shifted test images", 3))
    cells = [_row(str(policy), group) for policy, group in rows.groupby("policy", sort=False)]
    moved = rows[rows["shifted"]].groupby("policy", sort=False)["macs"].mean()
    away = (moved - HALF[1]).abs()
    nearest, farthest = str(away.idxmin()), str(away.idxmax())
    text = (
        f"On shifted test images ({counted(sets, 'shift')}), the thresholds that cost 50 % of the MACs on val cost "
        f"{percent(moved[nearest])} % with {nearest}"
        + (f" and {percent(moved[farthest])} % with {farthest}" if nearest != farthest else "")
        + f" ({ref(TABLE)})."
    )
    origin = source([run for run in runs.values() if is_shifted(run)], "budget-drift")
    return [
        Text(text),
        Shown(noted(caption, study.metric), Table(header, tuple(cells), groups=groups), name=TABLE, source=origin),
    ]


def _row(policy: str, group: pd.DataFrame) -> tuple[str, ...]:
    cells = [policy, str(group.loc[group["shifted"], "run_id"].nunique())]
    for part in (group[~group["shifted"]], group[group["shifted"]]):
        if part.empty:
            cells += [DASH] * 3
        else:
            ends = dict.fromkeys(percent(value) for value in (part["macs"].min(), part["macs"].max()))
            cells += [percent(part["macs"].mean()), " to ".join(ends), percent(part["accuracy"].mean())]
    return tuple(cells)


def is_shifted(run: Run) -> bool:
    """Whether the test images are corrupted."""
    return "corruption" in run.record.spec.train.dataset.set
