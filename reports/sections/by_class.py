"""The metric of every class, and the block after which its images leave: of segmentations and detections."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Shown, Text
from reports.captioned import noted
from reports.comparison_group import ComparisonGroup
from reports.names import point_words
from reports.numbering import ref
from reports.sections.dense_prediction import point_names
from reports.sources import source
from reports.study import Study
from reports.tables import Table, percent, signed

MOST = 20
"""Classes in a table; classes.csv has all."""


def by_class(study: Study, setting: ComparisonGroup, unlisted: str = "") -> list[Block]:
    """A sentence and a table about the reference; means over training seeds. Empty where it does not reach a point.

    Args:
        study: of the report.
        setting: the main group of one dataset and backbone.
        unlisted: a sentence for the caption where some classes have no row.
    """
    run, rows = setting.leading, study.rows_of("classes", setting)
    if rows.empty:
        return []
    names = point_names(run)
    own = rows[(rows["method"] == run.method) & rows["point"].isin(names)]
    if own.empty:
        return []
    point = next(name for name in names if (own["point"] == name).any())
    own = own[own["point"] == point]
    means = (
        own.groupby(["class", "name"])[["samples", "static_accuracy", "accuracy", "mean_block"]].mean().reset_index()
    )
    means["change"] = means["accuracy"] - means["static_accuracy"]
    name, where = study.display[setting.reference], point_words(point)
    table_name = f"{setting.number}-classes"
    shown = means.sort_values("change", kind="stable").head(MOST).sort_index() if len(means) > MOST else means
    more = f" The {MOST} classes that lose most; classes.csv has all." if len(means) > MOST else ""
    fewer = f" {unlisted}" if unlisted and len(means) < run.record.data.classes else ""
    seeds = f" Means over {own['seed'].nunique()} training seeds." if own["seed"].nunique() > 1 else ""
    caption = (
        f"{run.metric.of_class} (%) of every class{study.where(setting)}: of the backbone without exits, and "
        f"of {name} {where}. Images: test images with the class. Block: mean block after which these images leave."
        f"{more}{fewer}{seeds}"
    )
    header = ("Class", "Images", "Without exits", "With exits", "Change (points)", "Block")
    cells = tuple(
        (
            str(row["name"]), f"{row['samples']:,.0f}", percent(row["static_accuracy"]), percent(row["accuracy"]),
            signed(row["change"]), f"{row['mean_block']:.1f}",
        )
        for _, row in shown.iterrows()
    )  # fmt: skip
    origin = source([other for other in setting.exiting if other.method == run.method], "classes")
    caption = noted(caption, run.metric, run.metric.of_class)
    block = Shown(caption, Table(header, cells), narrow=True, name=table_name, source=origin)
    return [Text(f"{_sentence(means, name, where)} {ref(table_name)} lists all classes."), block]


def _sentence(means: pd.DataFrame, name: str, where: str) -> str:
    by_block = means.sort_values("mean_block", kind="stable")
    early, late, worst = by_block.iloc[0], by_block.iloc[-1], means.sort_values("change", kind="stable").iloc[0]
    depth = (
        f"With {name} {where}, images with “{early['name']}” leave after block {early['mean_block']:.1f} on average and those "
        f"with “{late['name']}” after block {late['mean_block']:.1f}"
        if round(early["mean_block"], 1) < round(late["mean_block"], 1)
        else f"With {name} {where}, images of all classes leave after block {early['mean_block']:.1f} on average"
    )
    if signed(worst["change"]).startswith("−"):
        return f"{depth}; “{worst['name']}” loses most ({signed(worst['change'])} points)."
    return f"{depth}; no class loses."
