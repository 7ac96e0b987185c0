"""Whether the heads and backbones of a report have converged, by the probes of the command ``explain``."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Heading, Shown, Text
from reports.comparison_group import ComparisonGroup
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import Table, signed
from reports.words import counted
from results.store.probes import BOTH
from results.tables.convergence import ALPHA, BACKBONE_LIMIT, HEAD_LIMIT

TABLE = "convergence"


def convergence(study: Study) -> list[Block]:
    """The gains of the backbones in words, and a table of the heads; nothing without probes."""
    rows = study.tidy.get(TABLE)
    if rows is None:
        return []
    shown = heads(study)
    compared = f" {ref(TABLE)} compares the heads with linear probes." if shown else ""
    heading = [Heading("Convergence")] if len(study.main) > 1 else []
    return [*heading, Text(backbone_sentence(rows) + compared), *shown]


def backbone_sentence(rows: pd.DataFrame) -> str:
    """What the backbones gained on val in the last quarter of their training."""
    backbones = rows[rows["part"] == "backbone"]
    if backbones.empty:
        return "Whether the backbones have converged is unknown: no val accuracy was measured while they were trained."
    gains = sorted({signed(gain) for gain in (backbones["gap"].min(), backbones["gap"].max())}, key=_number)
    late = int((~backbones["converged"]).sum())
    if len(backbones) == 1:
        verdict = f"more than {100 * BACKBONE_LIMIT:g}, so it has not converged" if late else "it has converged"
        return f"In the last quarter of its epochs the val accuracy of the backbone changed by {gains[0]} points: {verdict}."
    return (
        f"In the last quarter of their epochs the val accuracy of {counted(len(backbones), 'backbone')} changed by "
        f"{' to '.join(gains)} points; {late or 'none'} gained more than {100 * BACKBONE_LIMIT:g}, which counts as not "
        "converged."
    )


def heads(study: Study) -> list[Shown]:
    """One table with a row for each method of each setting: the largest mean gap of an exit to the probes."""
    rows = study.tidy.get(TABLE)
    if rows is None:
        return []
    of_heads = rows[rows["part"] == "head"]
    cells = [row for setting in study.settings for row in _rows(study, setting, of_heads)]
    if not cells:
        return []
    over = ", mean over the training seeds" if of_heads["seed"].nunique() > 1 else ""
    caption = (
        "Heads beside linear probes. Gap: test accuracy of a logistic regression with the inputs and the loss of a head minus "
        f"that of the head, in points{over}; the largest of all exits. An exit has not converged if it is above "
        f"{100 * HEAD_LIMIT:g} and beyond chance (exact sign-flip test over images, one-sided, Holm's correction over the "
        f"exits of a method, level {ALPHA:g})."
    )
    if any(BOTH in row for row in cells):
        caption += " Both inputs: class token and patch mean."
    header: tuple[str, ...] = ("Method", "Gap", "Block", "Inputs", "Not converged")
    if len(study.settings) > 1:
        header = ("Setting", *header)
    else:
        cells = [row[1:] for row in cells]
    runs = [run for run in study.runs if run.head_probes]
    narrow = len(study.settings) == 1
    return [Shown(caption, Table(header, tuple(cells)), narrow=narrow, name=TABLE, source=source(runs, TABLE))]


def _rows(study: Study, setting: ComparisonGroup, rows: pd.DataFrame) -> list[tuple[str, ...]]:
    own = rows[rows["run_id"].isin([run.record.run_id for run in setting.exiting])]
    cells: list[tuple[str, ...]] = []
    for method, of_method in own.groupby("method", sort=False):
        exits = of_method.drop_duplicates("block")
        worst = exits.sort_values("mean_gap").iloc[-1]
        late = int((~exits["converged"]).sum())
        cells.append(
            (
                setting.name, study.display[str(method)], signed(worst["mean_gap"]), str(worst["block"]), str(worst["inputs"]),
                f"{late} of {len(exits)}",
            )
        )  # fmt: skip
    return cells


def _number(text: str) -> float:
    return float(text.replace("−", "-"))
