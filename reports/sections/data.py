"""The data: sizes, the majority baseline, the backbone's balanced accuracy, and recall by class."""

from __future__ import annotations

from reports import captioned
from reports.blocks import Block, Shown, Text
from reports.comparison_group import DROP, ComparisonGroup
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, percent
from reports.weakness import weak_backbone, weakness
from results.stats.classes import Balance
from results.tables.run import STATIC

MOST = 20
"""Classes in the table of recall; classes.csv has all."""


def data(study: Study) -> list[Block]:
    """The table of backbones, and recall by class where a backbone is weak or the images are the user's own."""
    blocks: list[Block] = [captioned.backbones(study)]
    for setting in study.main:
        text = Text(" ".join(weakness(study, setting)))
        if text.text and text not in blocks:  # settings that share val may share their sentences
            blocks.append(text)
        shows_classes = weak_backbone(study, setting) or setting.leading.record.data.is_own
        if shows_classes and setting.leading.is_classification:  # other tasks have a section on classes
            blocks.append(recall_table(setting, study.display[setting.reference], study.where(setting)))
    return blocks


def recall_table(setting: ComparisonGroup, name: str, where: str) -> Shown:
    """Recall of every class without exits and, where the point is reached, with the reference's exits; first seed.

    Args:
        setting: the group.
        name: of the reference.
        where: of the group, for the caption.
    """
    run = setting.leading
    static = run.class_outcomes(STATIC)
    without = Balance.of(static.label, static.prediction[0])
    point = run.point(run.judged_policy, *DROP)
    exits = None if point is None else run.point_outcomes[point.name]
    rows = []
    for index, samples, recall, predicted in zip(
        without.classes, without.samples, without.recall, without.predicted, strict=True
    ):
        with_exits = DASH if exits is None else percent(exits.values[static.label == index].mean())
        cells = (f"{samples:,}", f"{predicted:,}", percent(recall), with_exits)
        rows.append((recall, (run.record.data.class_name(int(index)), *cells)))
    shown = rows if len(rows) <= MOST else sorted(rows, key=lambda row: row[0])[:MOST]
    header = ("Class", "Test images", "Predicted", "Recall (%)", f"{name} (%)")
    more = f" The {MOST} classes with the lowest recall; classes.csv has all." if len(rows) > MOST else ""
    caption = (
        f"Recall by class{where}, seed {run.seed}: of the backbone without exits, and of {name} with at "
        f"most 1 point lost on val. Predicted: test images that the backbone assigns to the class.{more}"
    )
    table = Table(header, tuple(row for _, row in shown))
    return Shown(caption, table, narrow=True, source=source([run], "classes"))
