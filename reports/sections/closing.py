"""Failures, limits, published numbers, and the provenance of each number."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from reports import captioned
from reports.blocks import Block, Heading, Listing, Points, Shown, Terms, Text
from reports.findings import limits
from reports.names import point_words, short_id
from reports.sections.claims import other_verdicts
from reports.setup import data_rows, provenance_rows
from reports.study import ComparisonGroup, Study
from reports.tables import Table, interval, percent, renamed
from reports.words import counted

ROWS = 200
"""Longer tables of operating points are only written to files."""


def failures(study: Study) -> list[Block]:
    rows = study.tidy["failures"]
    if rows.empty:
        return []
    text = (
        f"Rules for known problems of early exits found {counted(len(rows), 'place')} worth a look; they are not "
        "verdicts. The clearest of each kind is listed; failures.csv has all."
    )
    return [
        Text(text),
        Terms(tuple(_worst(study, str(name), group) for name, group in rows.groupby("signature", sort=False))),
    ]


def _worst(study: Study, signature: str, rows: pd.DataFrame) -> tuple[str, str]:
    """The clearest finding of a kind, and the number of findings."""
    distance = (rows["value"] - rows["limit"]).abs().fillna(0)
    worst = rows.iloc[int(distance.to_numpy().argmax())]
    run_id = worst["run_id"].split(" ")[0]
    run = next((run for run in study.runs if run.record.run_id == run_id), None)
    name = short_id(run_id)
    if run is not None:
        name = f"{study.display[run.method]} on {study.backbones[run.backbone]}, seed {run.seed} ({name})"
    place = f", {point_words(worst['place'])}" if worst["place"] else ""
    what = f"{name}{place}: {worst['sentence']}"
    return f"{signature[:1].upper()}{signature[1:]} ({len(rows)})", f"{what}."


def shortcomings(study: Study) -> list[Block]:
    return [Points(tuple(limits(study)))]


def left_out(study: Study) -> list[Block]:
    return [Points(tuple(study.problems))] if study.problems else []


def published(study: Study) -> list[Block]:
    """Published numbers and the results of runs on the same data and model."""
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
        "Published numbers, and the accuracy (%) of runs on the same data and model at the same speed-up in layers."
    )
    return [Shown(caption, Table(("Published", "Reading", "Verdict", "Found [95 %]"), cells))]


def operating_points(study: Study) -> list[Block]:
    """Every operating point of every group, if there are at most `ROWS`."""
    rows = sum(len(setting.totals) for setting in study.settings)
    if rows > ROWS:
        return [
            Text(f"The {rows:,} operating points of all settings are in table.md, those of single runs in points.csv.")
        ]
    text = "Each threshold was chosen on val and applied to test once; points.csv has these rows for every run."
    return [Text(text), *(block for setting in study.settings for block in _points(study, setting))]


def _points(study: Study, setting: ComparisonGroup) -> list[Block]:
    run_ids = [run.record.run_id for run in setting.runs]
    shown = (
        captioned.operating_points(setting.name, setting.totals, study.points[study.points["run_id"].isin(run_ids)]),
        captioned.equal_macs(setting, setting.totals, {name: name for name in setting.methods}, study.display),
    )
    return [replace(block, table=renamed(block.table, study.display)) for block in shown]


def provenance(study: Study) -> list[Block]:
    """Commands, data, and one row per run."""
    commands = (
        ("This report", "`python -m benchmark report` builds it from the records and tables of the runs alone."),
        ("One run", "`python -m benchmark reproduce RUN` trains it again from its record and compares the results."),
        ("All runs", f"`python -m benchmark run --grid {study.title}`, or with the path of the grid file."),
    )
    records = Table(("Run", "Commit", "Record", "Finished"), tuple(map(tuple, provenance_rows(study.runs))))
    return [
        Text(
            "Every number above comes from one of these records. Record: the first digits of the SHA-256 of "
            "record.json, which contains the hash of every artifact and the keys and code versions of all stages. A "
            "plus after a commit: the checkout had uncommitted changes."
        ),
        Terms(commands),
        Heading("Data"),
        Listing(
            Table(("Data", "Fingerprint", "Test split"), tuple(map(tuple, data_rows(study.runs)))), (1.4, 1.0, 1.0)
        ),
        Heading("Runs"),
        Listing(records, (2.1, 0.75, 0.75, 1.15)),
    ]
