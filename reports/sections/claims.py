"""LGViT's claims: the table on page one and the verdict sentence, both by the rules of `results.judge.verdicts`."""

from __future__ import annotations

import pandas as pd

from reports.study import Study
from reports.tables import DASH, Table, interval, signed
from reports.words import counted, join, p_value

SMALL_SCALE = "At small scale, not a test of the published claim:"
HERE = {
    "reproduced": "holds", "close": "nearly holds", "inconclusive": "is open", "not reproduced": "does not hold",
    "not run": "not run",
}  # fmt: skip
"""Words for a rule's verdict on runs that cannot judge the published claim."""
OPEN = ("not run", "inconclusive")
MANY = 16
"""Above this number of rows, the table has one row per claim instead of one per setting."""


def is_own(study: Study) -> bool:
    """Whether all images are the user's own."""
    return all(run.record.data.is_own for run in study.runs)


def unjudged(study: Study) -> str:
    """What stands instead of the table of claims; empty if it is shown, which is where the paper's own claims are decided."""
    if is_own(study):
        return "The images are the user's own: no claim of the LGViT paper is judged by them."
    rows = claim_rows(study)
    findings = rows["finding"].str.split(":").str[0]
    if not rows["verdict"].isin(OPEN).all():
        return ""
    if findings.isin(["", *OPEN]).all():
        return "These runs decide no claim of the LGViT paper, at its scale or at a smaller one."
    return " ".join(["These runs decide no claim of the LGViT paper.", *verdict_sentence(study)])


def claim_rows(study: Study) -> pd.DataFrame:
    """The judgements on claims, for the readings that were run; for the first reading if none was."""
    rows = study.judgements[study.judgements["claim"].isin([claim.id for claim in study.claims.claims])]
    run = list(rows[rows["run_ids"] != ""]["reading"].unique()) or [study.claims.readings[0].label]
    rows = rows[rows["reading"].isin(run)]
    main = {tuple(list(setting.where.values())[:3]) for setting in study.main}
    in_report = [
        not where[0] or tuple(where) in main
        for where in rows[["backbone", "dataset", "scheme"]].itertuples(index=False, name=None)
    ]
    rows = rows[in_report]
    # A claim that was judged in one setting is not listed as open for another.
    open_ = (rows["verdict"] == "not run") & (rows["finding"].str.startswith("not run") | (rows["finding"] == ""))
    judged = set(rows[~open_][["claim", "reading"]].itertuples(index=False, name=None))
    pairs = pd.Series(list(rows[["claim", "reading"]].itertuples(index=False, name=None)), index=rows.index)
    listed = (rows["reading"] == run[0]) & ~pairs.isin(judged) & ~pairs.duplicated()
    return rows[~open_ | listed]


def claims_table(study: Study) -> Table:
    """One row per claim, reading and setting; if these are too many, per claim and reading."""
    rows = claim_rows(study)
    texts = {claim.id: claim for claim in study.claims.claims}
    header = ("Claim of the paper", "Reading", "Setting", "Verdict", "Found [95 %]", "Here, small scale")
    cells = []
    if len(rows) > MANY:
        for (claim, reading), group in rows.groupby(["claim", "reading"], sort=False):
            finding = group["finding"].map(lambda text: HERE.get(text.split(":")[0], ""))
            where = counted(len(group), "setting")
            name = study.display.get(str(reading), str(reading))
            cells.append((str(claim), name, where, _counted(group["verdict"]), DASH, _counted(finding)))
        return Table(header, tuple(cells), words=True)
    for _, row in rows.iterrows():
        found_something = row["backbone"] and not row["finding"].startswith("not run")
        backbone = study.backbones.get(row["backbone"], row["backbone"])
        where = f"{backbone} on {row['dataset']}" if found_something else DASH
        kind, reading = texts[row["claim"]].kind, study.display.get(row["reading"], row["reading"])
        small = HERE.get(row["finding"].split(":")[0], "") or DASH
        cells.append((row["claim"], reading, where, row["verdict"], _value(row, kind), small))
    return Table(header, tuple(cells), words=True)


def other_verdicts(study: Study) -> pd.DataFrame:
    """The verdicts on published numbers."""
    rows = study.judgements[~study.judgements["claim"].isin([claim.id for claim in study.claims.claims])]
    return rows[rows["verdict"] != "not run"]


def judged_sentence(study: Study) -> list[str]:
    """One sentence on the claims that runs at the paper's scale judge; empty if there is none."""
    rows = claim_rows(study)
    judged = rows[rows["verdict"] != "not run"]
    parts = [f"{claim}: {_counted(group['verdict'])}" for claim, group in judged.groupby("claim", sort=False)]
    return [f"The paper's claims: {join(parts, ';')}."] if parts else []


def verdict_sentence(study: Study) -> list[str]:
    """Sentences on the verdicts, and on the findings of runs below the paper's scale."""
    if is_own(study):
        return []
    rows = claim_rows(study)
    small = rows[rows["finding"] != ""]
    sentences = judged_sentence(study)
    if not small.empty:
        texts = {claim.id: claim.text for claim in study.claims.claims}
        parts, open_ = [], 0
        for (claim, reading), group in small.groupby(["claim", "reading"], sort=False):
            answers = group["finding"].map(lambda text: HERE[text.split(":")[0]])
            answers = answers[answers != HERE["not run"]]
            if (answers == HERE["inconclusive"]).all():
                open_ += bool(len(answers))
            else:
                parts.append(
                    f"“{texts[str(claim)]}” {_spread(answers)} for {study.display.get(str(reading), str(reading))}"
                )
        parts += [f"{counted(open_, 'claim')} {'is' if open_ == 1 else 'are'} open"] if open_ else []
        sentences.append(f"{SMALL_SCALE} {join(parts, ';')}." if parts else f"{SMALL_SCALE} no rival of LGViT was run.")
    if rows["run_ids"].eq("").all():
        sentences.append("There is no run of LGViT, so no claim of the paper is judged.")
    return sentences


def _spread(answers: pd.Series) -> str:
    """``holds``, or the number of settings for each answer."""
    if answers.nunique() == 1:
        return str(answers.iloc[0])
    counts = answers.value_counts(sort=False)
    return join([f"{answer} in {count} of {len(answers)} settings" for answer, count in counts.items()])


def _counted(answers: pd.Series) -> str:
    answers = answers[answers != ""]
    if answers.empty:
        return DASH
    if len(answers) == 1:
        return str(answers.iloc[0])
    counts = answers.value_counts(sort=False)
    return (
        str(counts.index[0])
        if len(counts) == 1
        else ", ".join(f"{answer} ({count})" for answer, count in counts.items())
    )


def _value(row: pd.Series, kind: str) -> str:
    if pd.isna(row["value"]):
        return DASH
    text = f"{signed(row['value'])} points {interval(row['low'], row['high'])}"
    text += "" if pd.isna(row["p"]) else f", {p_value(row['p'])}"
    return f"drop {text}" if kind == "speed-up" else text
