"""What went wrong, what cannot be said, and where each number comes from."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Heading, Listing, Points, Shown, Terms, Text
from reports.findings import limits
from reports.sections.claims import other_verdicts
from reports.setup import data_rows, provenance_rows
from reports.study import Setting, Study
from reports.tables import Table, budget_table, drop_table, interval, percent
from reports.words import counted

ROWS = 200
"""Longer tables of operating points stay files."""


def failures(study: Study) -> list[Block]:
    rows = study.failures
    if rows.empty:
        return []
    text = (
        f"Rules that look for what goes wrong with early exits found {counted(len(rows), 'place')}: a reason to look, not a "
        "verdict. The clearest of each kind is told; failures.csv has all."
    )
    return [Text(text), Terms(tuple(_worst(str(name), group) for name, group in rows.groupby("signature", sort=False)))]


def _worst(signature: str, rows: pd.DataFrame) -> tuple[str, str]:
    """What was found most clearly, and how often there is such a thing."""
    beyond = (rows["value"] - rows["limit"]).abs().fillna(0)
    worst = rows.iloc[int(beyond.to_numpy().argmax())]
    place = f", {worst['place']}" if worst["place"] else ""
    what = f"{worst['run_id'].split(' ')[0]}{place}: {worst['sentence']}"
    return f"{signature[:1].upper()}{signature[1:]} ({len(rows)})", f"{what}."


def shortcomings(study: Study) -> list[Block]:
    return [Points(tuple(limits(study)))]


def left_out(study: Study) -> list[Block]:
    return [Points(tuple(study.problems))] if study.problems else []


def published(study: Study) -> list[Block]:
    """Published numbers beside what runs on the same data and model reach."""
    rows = other_verdicts(study)
    if rows.empty:
        return []
    cells = tuple(
        (
            row["claim"],
            row["reading"],
            row["verdict"],
            f"{percent(row['value'])} {interval(row['low'], row['high'])}".strip(),
        )
        for _, row in rows.iterrows()
    )
    caption = (
        "Published numbers beside the accuracy (%) of runs on the same data and model at the same speed-up in layers."
    )
    return [Shown(caption, Table(("Published", "Reading", "Verdict", "Found [95 %]"), cells))]


def operating_points(study: Study) -> list[Block]:
    """Every operating point of every setting, as far as it fits."""
    rows = sum(len(setting.totals) for setting in study.settings)
    if rows > ROWS:
        return [
            Text(f"The {rows:,} operating points of all settings are in table.md, those of single runs in points.csv.")
        ]
    text = "Each threshold was chosen on val and looked up once on test; points.csv has these rows for every run."
    return [Text(text), *(block for setting in study.settings for block in _points(setting))]


def _points(setting: Setting) -> list[Block]:
    over = "t interval over training seeds" if setting.over == "seeds" else "bootstrap over test images"
    return [
        Shown(
            f"Operating points, {setting.name}: the cheapest threshold within each drop on val, looked up on "
            f"test. Drop: against the backbone without exits, same seed (negative: a gain). Brackets: 95 % {over}.",
            drop_table(setting.totals),
        ),
        Shown(
            f"Test accuracy (%) at equal MACs, {setting.name}, as a share of the backbone without exits. "
            f"Brackets: 95 % {over}. "
            "Bold: ahead of every other method beyond the detectable difference; without bold nothing is ranked.",
            budget_table(setting.totals, setting.pairs),
        ),
    ]


def provenance(study: Study) -> list[Block]:
    """Commands, data and one row a run."""
    commands = (
        ("This document again", "`python -m benchmark report`, from the records and tables of the runs alone."),
        ("One run again", "`python -m benchmark reproduce RUN` trains it from its record and judges what comes out."),
        ("All runs", f"`python -m benchmark run --grid {study.title}`, if that is a grid's name."),
    )
    records = Table(("Run", "Commit", "Record", "Finished"), tuple(map(tuple, provenance_rows(study.runs))))
    return [
        Text(
            "Every number above comes from one of these records. Record: the first digits of the SHA-256 of "
            "record.json, which in "
            "turn holds the hash of every artifact, the keys of all stages and the code version of each. A plus "
            "behind a commit: the checkout had uncommitted changes."
        ),
        Terms(commands),
        Heading("Data"),
        Listing(
            Table(("Data", "Fingerprint", "Test split"), tuple(map(tuple, data_rows(study.runs)))), (1.4, 1.0, 1.0)
        ),
        Heading("Runs"),
        Listing(records, (2.1, 0.75, 0.75, 1.15)),
    ]
