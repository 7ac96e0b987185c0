"""Limits, failures, published numbers, operating points, and the provenance of each number."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from reports import captioned
from reports.blocks import Block, Points, Shown, Terms, Text
from reports.comparison_group import HALF, ComparisonGroup
from reports.findings import limits
from reports.names import head_name, point_words, short_id
from reports.sections.claims import other_verdicts
from reports.setup import data_rows
from reports.sources import source
from reports.study import Study
from reports.tables import Table, interval, percent, renamed
from reports.words import counted, few
from results.tables.run import Run

ROWS = 200
"""Longer tables of operating points are only written to files."""
HEAD = re.compile(r"\bthe (\S+) (exit|head)(?= after block)")
"""A head in the sentence of a symptom."""


def limits_and_failures(study: Study) -> list[Block]:
    """Limits of the runs, records that were left out, and the clearest symptom of each kind."""
    blocks: list[Block] = [Text(" ".join(limits(study)))]
    if study.problems:
        blocks += [Text("Left out:"), Points(tuple(study.problems))]
    rows = study.tidy["failures"]
    if not rows.empty:
        text = (
            f"Rules for known problems of early exits point to {counted(len(rows), 'place')} worth a look; they are no "
            "verdicts. The clearest of each kind, with their number; failures.csv has all:"
        )
        terms = Terms(tuple(_worst(study, str(name), group) for name, group in rows.groupby("signature", sort=False)))
        blocks += [Text(text), terms]
    return blocks


def _worst(study: Study, signature: str, rows: pd.DataFrame) -> tuple[str, str]:
    """The clearest finding of a kind, and the number of findings."""
    distance = (rows["value"] - rows["limit"]).abs().fillna(0)
    worst = rows.iloc[int(distance.to_numpy().argmax())]
    run_id = worst["run_id"].split(" ")[0]
    run = next((run for run in study.runs if run.record.run_id == run_id), None)
    name = short_id(run_id)
    if run is not None:
        name = f"{_which(study, run)} ({name})"
    place = f", {point_words(worst['place'])}" if worst["place"] else ""
    place = "" if run is not None and run.is_static else place
    sentence = HEAD.sub(lambda match: f"the {head_name(match[1])} {match[2]}", worst["sentence"])
    labels = {label: shown for label, shown in study.display.items() if "(" in label}
    for text, shown in (study.backbones | labels).items():
        sentence = sentence.replace(text, shown)
    what = f"{name}{place}: {sentence}"
    return f"{signature[:1].upper()}{signature[1:]} ({len(rows)})", f"{what}."


def _which(study: Study, run: Run) -> str:
    """The name of a method, with the backbone and the seed where there are several."""
    on = f" on {study.backbones[run.backbone]}" if len({other.backbone for other in study.runs}) > 1 else ""
    seed = f", seed {run.seed}" if len({other.seed for other in study.runs}) > 1 else ""
    name = study.display[run.method]
    return f"{name[0].upper()}{name[1:]}{on}{seed}"


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
    """Every operating point of every group, if there are at most `ROWS`; those of a single method are in the results."""
    if study.has_one_method:
        return []
    rows = sum(len(setting.totals) for setting in study.settings)
    if rows > ROWS:
        return [
            Text(f"The {rows:,} operating points of all settings are in table.md, those of single runs in points.csv.")
        ]
    text = "Each threshold was chosen on val and applied to test once; points.csv has these rows for every run."
    return [Text(text), *(block for setting in study.settings for block in point_tables(study, setting))]


def point_tables(study: Study, setting: ComparisonGroup) -> list[Shown]:
    """The operating points by accuracy drop, and at equal MACs if methods are compared."""
    run_ids = [run.record.run_id for run in setting.runs]
    name = setting.name if len(study.settings) > 1 else ""
    rows = study.points[study.points["run_id"].isin(run_ids)]
    shown = [captioned.operating_points(name, setting.metric, setting.totals, rows)]
    if (setting.totals["kind"] == HALF[0]).any() and not study.has_one_method:
        labels = {label: label for label in setting.methods}
        shown.append(captioned.equal_macs(setting, setting.totals, labels, study.display, name))
    origin = source(setting.runs, "points")
    return [replace(block, table=renamed(block.table, study.display), source=origin) for block in shown]


def provenance(study: Study) -> list[Block]:
    """Commands, data, and the runs by setting and method."""
    commands = (
        ("This report", "`python -m benchmark report` builds it from the records and tables of the runs alone."),
        ("One run", "`python -m benchmark reproduce RUN` trains it again from its record and compares the results."),
        ("All runs", f"`python -m benchmark run --grid {study.title}`, or with the path of the grid file."),
    )
    return [
        Terms(commands),
        Text(
            "Every number comes from the records below, by the short ids that every command takes. "
            "report.json lists the SHA-256 of each record; a record holds the hash of every artifact, and the keys and code "
            f"versions of all stages. {_code(study)}"
        ),
        Terms((*_data_hashes(study), *run_rows(study)), small=True),
    ]


def _data_hashes(study: Study) -> list[tuple[str, str]]:
    return [
        (name, f"fingerprint {fingerprint}, test split {test_split}")
        for name, fingerprint, test_split in data_rows(study.runs)
    ]


def run_rows(study: Study) -> list[tuple[str, str]]:
    """One row per setting and seed with the short id of every run; backbones without exits have one row for all seeds."""
    names = {tuple(setting.where.values()): setting.name for setting in study.settings}
    rows: dict[str, list[str]] = {}
    for run in study.runs:
        seed = f", seed {run.seed}"
        place = names.get(run.setting, f"{study.backbones[run.backbone]} on {run.dataset}")
        if not run.has_exits and f"{place}{seed}" not in rows:
            place, seed = f"{place}, without exits", ""
        cells, name = rows.setdefault(f"{place}{seed}", []), study.display[run.method]
        last = cells[-1] if cells else ""
        if last.startswith(f"{name} "):  # another seed of the same method
            cells[-1] = f"{last} {short_id(run.record.run_id)}"
        else:
            cells.append(f"{name} {short_id(run.record.run_id)}")
    return [(place, ", ".join(cells)) for place, cells in rows.items()]


def _code(study: Study) -> str:
    """The commits of the runs."""
    codes = (run.record.provenance.code for run in study.runs)
    commits = dict.fromkeys((code.commit or "no git")[:10] + ("+" if code.dirty else "") for code in codes)
    changed = " (+: with uncommitted changes)" if any(commit.endswith("+") for commit in commits) else ""
    return f"Code: {few(list(commits))}{changed}."
