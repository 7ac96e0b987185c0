"""Static models with published results: what a user could take in place of early exits. None of them was measured here."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Shown, Text
from reports.study import Study
from reports.tables import DASH, Table
from results.tables.static_models import MARK

HEADER = ("Model", "Top-1 (%)", "GMACs", "CPU (ms)", "GPU (images/s)")


def static_models(study: Study) -> list[Block]:
    """A table and one sentence for each backbone of the runs; nothing without the tidy table ``static-models``."""
    rows = study.tidy.get("static-models")
    if rows is None:
        return []
    sentences = [sentence for backbone in _backbones(study) for sentence in smaller_sentences(rows, backbone)]
    return [Text(" ".join([*sentences, "Whether early exits pay depends on whether they cost less."])), shown(rows)]


def smaller_sentences(rows: pd.DataFrame, backbone: str) -> list[str]:
    """What the next smaller model of the same family and training costs in accuracy and saves, per set of weights."""
    by_model = rows.set_index("model")
    sentences = []
    for name, row in by_model[(rows["backbone"] == backbone).to_numpy()].iterrows():
        if not row["smaller"]:
            continue
        small = by_model.loc[row["smaller"]]
        ratios = (
            (row["gmacs"] / small["gmacs"], "{:.1f}× fewer MACs"),
            (row["cpu_ms"] / small["cpu_ms"], "{:.1f}× less time on a CPU"),
        )
        saved = [text.format(ratio) for ratio, text in ratios if pd.notna(ratio)]
        at = f" at {' and '.join(saved)}" if saved else ""
        cost = row["top1"] - small["top1"]
        sentences.append(f"{name} to {row['smaller']} costs {cost:.1f} points of top-1 accuracy{at} ({MARK}).")
    return sentences


def shown(rows: pd.DataFrame) -> Shown:
    """The table, each number as published."""
    cells = tuple(
        (
            str(row["model"]),
            *(
                _number(row[name], form)
                for name, form in (("top1", "{:.1f}"), ("gmacs", "{:.2f}"), ("cpu_ms", "{:.1f}"))
            ),
            _number(row["gpu_images_per_second"], "{:,.0f}"),
        )
        for _, row in rows.iterrows()
    )
    caption = f"Static models: {MARK}. Source: {rows['source'].iloc[0]}. Conditions: {rows['conditions'].iloc[0]}."
    return Shown(caption, Table(HEADER, cells))


def _backbones(study: Study) -> list[str]:
    return list(dict.fromkeys(run.backbone for run in study.runs))


def _number(value: float, form: str) -> str:
    return DASH if pd.isna(value) else form.format(value)
