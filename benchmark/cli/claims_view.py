"""Shows verdicts: a table with one row per claim, or every reading, setting and published number with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmark.run_reference import short_id
from benchmark.text_table import text_table, wrapped
from results.judge.claims import SMALL
from results.judge.literature import Claim, Claims

SEVERITY = ("not reproduced", "inconclusive", "close", "reproduced", "not run")
"""Verdicts on one setting; the first of them that occurs is the verdict on the claim."""
DASH = "-"
SMALL_SCALE = "small scale"
"""Shown instead of "not run" where the claim's rule was applied to other data or models than the paper's."""


def summary(judgements: pd.DataFrame, claims: Claims, width: int) -> list[str]:
    """The lines of a table with one row per claim, for the first reading, and what its columns mean.

    Args:
        judgements: columns as `results.judge.claims.Judgement`.
        claims: that were judged.
        width: of the terminal, in characters.
    """
    reading = judgements[judgements["reading"] == claims.readings[0].label]
    rows = [_claim_row(claim, reading) for claim in claims.claims]
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "setting"}
    lines = text_table(columns, width, optional=["small"], right=["judged"])
    notes = []
    if settings := list(dict.fromkeys(row["setting"] for row in rows if row["setting"])):
        where = settings[0] if len(settings) == 1 else "of several, the least favourable"
        notes.append(
            "Drop of a speed-up, or the smallest lead over a rival at a budget: points, 95 % interval, in the setting with "
            f"most seeds ({where})."
        )
    notes.append(
        "Judged: settings at the paper's scale. Small: settings of other data or models in which the rule holds; they "
        f"judge no published claim, which is then {SMALL_SCALE!r}."
    )
    others = ", ".join(reading.label for reading in claims.readings[1:])
    ids = {claim.id for claim in claims.claims}
    numbers = judgements[~judgements["claim"].isin(ids)]["claim"].nunique()
    rest = f"Other readings ({others}), {numbers} published numbers and every reason: --full, or --out FILE"
    return [*lines, "", *wrapped(" ".join(notes), width), *wrapped(rest, width)]


def details(judgements: pd.DataFrame, width: int) -> Iterator[str]:
    """The lines of every judgement, by reading and claim.

    Args:
        judgements: columns as `results.judge.claims.Judgement`.
        width: of the terminal, in characters.
    """
    for reading, of_reading in judgements.groupby("reading", sort=False):
        yield str(reading)
        in_settings = of_reading["backbone"] != ""
        for claim, rows in of_reading[in_settings].groupby("claim", sort=False):
            yield from wrapped(f"{claim}: {_verdict(rows)}", width, "  ", "    ")
            for _, row in rows.iterrows():
                small = "small scale, " if row["finding"] else ""
                yield from wrapped(
                    f"{small}{_setting(row)}: {row['finding'] or row['reason']}", width, "    ", "      "
                )
                runs = " ".join(map(short_id, row["run_ids"].split()))
                yield from wrapped(f"runs {runs}", width, "      ", "        ")
        for (verdict, reason), rows in of_reading[~in_settings].groupby(["verdict", "reason"], sort=False):
            yield from wrapped(f"{verdict}, {reason}:", width, "  ", "    ")
            for claim in rows["claim"]:
                yield from wrapped(claim, width, "    ", "      ")
        yield ""
    if judgements["finding"].ne("").any():
        yield from wrapped(f"Small scale: {SMALL}.", width)


def _claim_row(claim: Claim, judgements: pd.DataFrame) -> dict[str, str]:
    """The cells of a claim, and the setting of its value."""
    rows = judgements[judgements["claim"] == claim.id]
    verdict = _verdict(rows)
    of_settings = judgements[judgements["claim"].isin(claim.over or (claim.id,)) & judgements["backbone"].ne("")]
    judged = of_settings[of_settings["verdict"] != "not run"]
    small = rows[rows["finding"].ne("") & ~rows["finding"].str.startswith("not run")]
    deciding = rows[rows["verdict"] == verdict] if verdict != "not run" else small
    deciding = deciding[deciding["value"].notna()]
    row = _deciding(deciding, claim) if len(deciding) else None
    holds = sum(text.startswith(("reproduced:", "close:")) for text in small["finding"])
    return {
        "claim": claim.id,
        "verdict": SMALL_SCALE if verdict == "not run" and len(small) else verdict,
        "drop or least lead": DASH if row is None else _value(row, claim),
        "judged": str(len(judged)),
        "small": f"{holds} of {len(small)}" if len(small) else DASH,
        "setting": "" if row is None else _setting(row),
    }


def _verdict(rows: pd.DataFrame) -> str:
    """The verdict on a claim over all its settings."""
    return next(verdict for verdict in SEVERITY if verdict in set(rows["verdict"]))


def _deciding(rows: pd.DataFrame, claim: Claim) -> pd.Series:
    """The row with most runs; among these, the least favourable value."""
    runs = rows["run_ids"].map(lambda ids: len(ids.split()))
    least_favourable = rows["value"] if claim.kind == "direction" else -rows["value"]
    order = pd.DataFrame({"runs": -runs, "value": least_favourable}).sort_values(["runs", "value"])
    return rows.loc[order.index[0]]


def _setting(row: pd.Series) -> str:
    return f"{row['backbone']}, {row['dataset']}, exits {row['scheme']}"


def _value(row: pd.Series, claim: Claim) -> str:
    digits = 2 if abs(row["value"]) < 0.1 else 1
    value, low, high = (round(100 * row[name], digits) + 0.0 for name in ("value", "low", "high"))  # + 0.0: no "-0.0"
    sign = "+" if claim.kind == "direction" else ""
    return f"{value:{sign}.{digits}f}" + ("" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
