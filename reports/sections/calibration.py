"""Whether the confidence of exits equals their accuracy."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Heading, Shown, Text
from reports.comparison_group import ComparisonGroup
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import Table

TABLE = "calibration"
MANY = 40
"""Most methods in one table; exits.csv has all."""


def calibration(study: Study) -> list[Block]:
    blocks: list[Block] = []
    for setting in study.main:
        rows = study.rows_of("exits", setting)
        if "ece" not in rows:
            continue
        rows = rows[rows["ece"].notna()]  # shared runs have no confidences
        if rows.empty:
            continue
        rows = rows.assign(method=rows["method"].map(study.display))
        early = rows[rows.groupby("run_id")["block"].transform("max") != rows["block"]]
        final = rows.drop(early.index)
        if early.empty:
            continue
        shown = [_shown(study, setting, early, final)] if setting is study.main[0] and not study.has_one_method else []
        cited = f" ({ref(TABLE)})" if shown else ""
        blocks += [Text(f"{_sentence(study, setting, early, final)}{cited}."), *shown]
    return [Heading("Calibration"), *blocks] if blocks and len(study.main) > 1 else blocks


def _sentence(study: Study, setting: ComparisonGroup, early: pd.DataFrame, final: pd.DataFrame) -> str:
    errors = early.groupby("method", sort=False)["ece"].mean()
    ends = dict.fromkeys((str(errors.idxmin()), str(errors.idxmax())))
    several = len(ends) > 1
    of = " to ".join(f"{100 * errors[name]:.1f} points{f' ({name})' if several else ''}" for name in ends)
    where = study.where(setting, "")
    start = f"{where}: the" if where else "The"
    return (
        f"{start} confidence of early exits differs from their accuracy by {of} on average over exits, "
        f"that of the final classifier by {100 * final['ece'].mean():.1f} (expected calibration error, 15 bins of "
        "equal mass)"
    )


def _shown(study: Study, setting: ComparisonGroup, early: pd.DataFrame, final: pd.DataFrame) -> Shown:
    rows = []
    methods = list(dict.fromkeys(early["method"]))
    for method in methods[:MANY]:
        own, last = early[early["method"] == method], final[final["method"] == method]
        first = own[own.groupby("run_id")["block"].transform("min") == own["block"]]
        rows.append(
            (
                method, *(f"{100 * part['ece'].mean():.1f}" for part in (first, own, last)),
                *(f"{part['nll'].mean():.2f}" for part in (first, own, last)),
            )
        )  # fmt: skip
    header = ("Method", "first", "mean", "final", "first", "mean", "final")
    groups = (("", 1), ("ECE (points)", 3), ("NLL (nats)", 3))
    more = f" {len(methods) - MANY} more methods are in exits.csv." if len(methods) > MANY else ""
    seeds = " Means over seeds." if setting.seeds > 1 else ""
    caption = (
        "Calibration of the first exit, of all early exits on average, and of the final classifier"
        f"{study.where(setting)}. ECE: expected calibration error; NLL: negative log-likelihood of the label."
    )
    origin = source(setting.exiting, "exits")
    table = Table(header, tuple(rows), groups=groups)
    return Shown(f"{caption}{seeds}{more}", table, narrow=_is_narrow(methods), name=TABLE, source=origin)


def _is_narrow(names: list[str]) -> bool:
    return max(map(len, names)) <= 27
