"""The table of claims: one row each, whatever the number of settings; every reason in the full list."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from benchmark.cli.claims_view import details, summary
from results.judge.claims import SMALL
from results.judge.judgement import Judgement
from results.judge.literature import read_claims

CLAIMS = read_claims()


def judgement(
    claim: str, verdict: str, value: float, *, seeds: int = 1, small: bool = False, **other: str
) -> Judgement:
    backbone = other.get("backbone", "vit_base_patch16_224")
    return Judgement(
        claim, other.get("reading", "lgvit"), backbone, "cifar-100", "paper", "not run" if small else verdict,
        value, value - 0.001, value + 0.002, "seeds", 0.01, " ".join(f"{backbone}-{seed:08x}" for seed in range(seeds)),
        SMALL if small else "the reason", f"{verdict}: the reason" if small else "",
    )  # fmt: skip


def absent(claim: str, reading: str = "lgvit") -> Judgement:
    return Judgement(claim, reading, "", "", "", "not run", np.nan, np.nan, np.nan, "", np.nan, "", "no run", "")


def table(*rows: Judgement) -> pd.DataFrame:
    """Judgements of every reading; claims without a row have not been run."""
    judged = {(row.claim, row.reading) for row in rows}
    others = [
        absent(claim.id, reading.label)
        for reading in CLAIMS.readings
        for claim in CLAIMS.claims
        if (claim.id, reading.label) not in judged
    ]
    return pd.DataFrame([asdict(row) for row in [*rows, *others]])


def cells(judgements: pd.DataFrame, claim: str) -> str:
    (line,) = (line for line in summary(judgements, CLAIMS, 80) if line.startswith(f"{claim}  "))
    return " ".join(line.removeprefix(claim).split())


def test_one_row_per_claim_fits_80_columns() -> None:
    judgements = table(
        judgement("above homogeneous heads", "not reproduced", -0.1234, seeds=5),
        *(judgement("above vanilla", "inconclusive", 0.01, small=True, backbone=f"b{i}") for i in range(20)),
    )
    lines = summary(judgements, CLAIMS, 80)
    assert max(map(len, lines)) <= 80
    assert lines.index("") == 1 + len(CLAIMS.claims)
    assert cells(judgements, "above homogeneous heads") == "not reproduced -12.3 [-12.4, -12.1] 1 -"
    assert cells(judgements, "above vanilla") == "small scale +1.00 [0.90, 1.20] 0 0 of 20"


def test_the_worst_setting_decides() -> None:
    judgements = table(
        judgement("speed-up in layers", "reproduced", 0.010, seeds=5),
        judgement("speed-up in layers", "not reproduced", 0.030, seeds=5, backbone="b1"),
        judgement("speed-up in layers", "not reproduced", 0.040, seeds=5, backbone="b2"),
    )
    assert cells(judgements, "speed-up in layers") == "not reproduced 4.00 [3.90, 4.20] 3 -"


def test_small_runs_show_the_setting_with_most_seeds() -> None:
    judgements = table(
        judgement("speed-up in MACs", "inconclusive", 0.030, small=True),
        judgement("speed-up in MACs", "reproduced", -0.0001, seeds=5, small=True, backbone="b1"),
        judgement("speed-up in MACs", "not run", np.nan, small=True, backbone="b2"),
    )
    assert cells(judgements, "speed-up in MACs") == "small scale -0.01 [-0.11, 0.19] 0 1 of 2"


def test_the_full_list_has_every_judgement_and_no_repeated_sentence() -> None:
    rows = [judgement("above vanilla", "inconclusive", 0.01, seeds=2, small=True, backbone=f"b{i}") for i in range(9)]
    number = "88.5 % at 1.87x in layers (a source whose name is longer than forty characters, second-hand)"
    lines = list(details(table(*rows, absent(number)), 80))
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    assert number in text
    assert all(
        f"b{i}, cifar-100, exits paper: inconclusive: the reason runs 00000000 00000001" in text for i in range(9)
    )
    assert text.count(SMALL) == 1
    assert text.count("no run") == len(CLAIMS.readings)
