"""Test images that leave at each exit, or their ids if images may not be shown or are not on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.blocks import Block, Drawn, Terms, Text
from reports.comparison_group import DROP, HALF, ComparisonGroup
from reports.figures.atlas import Row, atlas
from reports.names import short_id
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from results.operating_point import OperatingPoint
from results.tables.run import Run

EACH = 12
"""Images of each exit, or ids where no images are shown."""


@dataclass(frozen=True)
class ExitSamples:
    """Some of the test samples that leave at one exit, taken from the classes in turn.

    Attributes:
        block: of the exit.
        share: of all test samples that leave there.
        sample_id: [n].
        right: whether each is classified correctly, [n].
    """

    block: int
    share: float
    sample_id: list[int]
    right: list[bool]


def exit_atlas(study: Study) -> list[Block]:
    """For LGViT in the first group, at an operating point with a single threshold; empty if no such point is reached, and for
    other tasks than classification."""
    setting = study.main[0]
    run = setting.leading
    point = _point(run)
    if point is None or not run.is_classification:
        return []
    samples = exit_samples(run, point)
    sample_ids = [sample for row in samples for sample in row.sample_id]
    images = study.pictures(run.record, sample_ids) if study.pictures is not None else None
    if images is None:
        return _ids(study, setting, run, point)
    rest = iter(images)
    rows = [
        Row(f"{row.block}: {100 * row.share:.0f} %", [next(rest) for _ in row.sample_id], row.right) for row in samples
    ]
    caption = (
        "Test images by the block after which they leave, with the share of all images: "
        f"{study.display[run.method]} under {point.policy}{study.where(setting)}, seed {run.seed}, {_where(point)}. At "
        f"most {EACH} of each exit, with the lowest ids of every class; red frame: classified wrongly."
    )
    return [
        Text(TEXT),
        Drawn(caption, atlas(rows, EACH), "exit-atlas", source([run], "", f"sweep {short_id(run.record.run_id)}")),
    ]


TEXT = (
    ref("exit-atlas")
    + " shows test images by exit, selected by their ids alone; those that leave early should look easy."
)


def exit_samples(run: Run, point: OperatingPoint, each: int = EACH) -> list[ExitSamples]:
    """At most ``each`` samples per exit: the lowest ids of every class, classes in turn."""
    taken = run.class_outcomes(point.name)
    rows = pd.DataFrame(
        {"sample_id": taken.sample_id, "label": taken.label, "exit": taken.exit[0], "right": taken.right[0]}
    )
    samples = []
    for k, exit_ in enumerate(run.record.exits):
        leaving = rows[rows["exit"] == k]
        if leaving.empty:
            continue
        turn = leaving.groupby("label").cumcount()
        chosen = leaving.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(each)
        chosen = chosen.sort_values(["label", "sample_id"], kind="stable")
        samples.append(
            ExitSamples(
                exit_.block,
                len(leaving) / len(rows),
                chosen["sample_id"].astype(int).tolist(),
                chosen["right"].tolist(),
            )
        )
    return samples


def _point(run: Run) -> OperatingPoint | None:
    """A point with a single threshold, so that each sample has one exit: at most one point lost on val, or else any other."""
    chosen = [run.point(run.judged_policy, *DROP), *(point for point in run.record.points if point.reached)]
    return next((point for point in chosen if point is not None and len(point.settings) == 1), None)


def _where(point: OperatingPoint) -> str:
    if point.kind == DROP[0]:
        lost = f"{100 * point.target:g} point"
        return f"at most {lost if point.target == 0.01 else f'{lost}s'} lost on val"
    return f"{point.target:g} of the MACs" if point.kind == HALF[0] else f"threshold {point.target:g}"


def _ids(study: Study, setting: ComparisonGroup, run: Run, point: OperatingPoint) -> list[Block]:
    samples = exit_samples(run, point)
    items = tuple((f"{row.block} ({100 * row.share:.1f} %)", " ".join(_marked(row))) for row in samples)
    text = (
        f"Ids of test samples by the block after which they leave, with its share: {study.display[run.method]} under "
        f"{point.policy}{study.where(setting)}, seed {run.seed}, {_where(point)}. The lowest ids of every class; a star: "
        "classified wrongly."
    )
    return [Text(text), Terms(items, small=True)]


def _marked(row: ExitSamples) -> list[str]:
    return [str(sample) if right else f"{sample}*" for sample, right in zip(row.sample_id, row.right, strict=True)]
