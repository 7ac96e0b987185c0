"""Who leaves where, seen: test images of each exit, or their ids where images may not be shown or are not here."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.blocks import Block, Drawn, Listing, Text
from reports.figures.atlas import Row, atlas
from reports.study import DROP, HALF, Setting, Study, point_of
from reports.tables import Table
from results.record import OperatingPoint
from results.tables.run import Run

EACH = 12


@dataclass(frozen=True)
class Leavers:
    """Some of the test samples that leave at one exit, classes in turn.

    Attributes:
        block: of the exit.
        share: of all test samples that leave there.
        sample_id: [n].
        right: whether each is answered right, [n].
    """

    block: int
    share: float
    sample_id: list[int]
    right: list[bool]


def exit_atlas(study: Study) -> list[Block]:
    """Of LGViT in the first setting, at a point with a single threshold; none where no such point is reached."""
    setting = study.main[0]
    run = setting.leading
    point = _point(run)
    if point is None:
        return []
    found = leavers(run, point)
    wanted = [sample for row in found for sample in row.sample_id]
    images = study.pictures(run.record, wanted) if study.pictures is not None else None
    if images is None:
        return _ids(setting, run, point, found)
    rest = iter(images)
    rows = [
        Row(f"block {row.block}\n{100 * row.share:.1f} %", [next(rest) for _ in row.sample_id], row.right)
        for row in found
    ]
    caption = (
        f"Test images by the block after which they leave, and the share that does: {run.method} under "
        f"{point.policy}, {setting.name}, "
        f"seed {run.seed}, {_where(point)}. The first of each class by sample id, in the order of the classes; "
        "crossed out: answered wrong."
    )
    return [Text(TEXT), Drawn(caption, atlas(rows), "exit-atlas")]


TEXT = "What leaves early should look easy. These images were chosen by their ids alone, before anyone looked at them."


def leavers(run: Run, point: OperatingPoint) -> list[Leavers]:
    """At most `EACH` samples an exit: of every class the lowest ids first, classes in turn."""
    taken = run.point_outcomes[point.name]
    rows = pd.DataFrame(
        {"sample_id": taken.sample_id, "label": taken.label, "exit": taken.exit[0], "right": taken.right[0]}
    )
    found = []
    for k, exit_ in enumerate(run.record.exits):
        here = rows[rows["exit"] == k]
        if here.empty:
            continue
        turn = here.groupby("label").cumcount()
        chosen = here.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(EACH)
        chosen = chosen.sort_values(["label", "sample_id"], kind="stable")
        found.append(
            Leavers(
                exit_.block, len(here) / len(rows), chosen["sample_id"].astype(int).tolist(), chosen["right"].tolist()
            )
        )
    return found


def _point(run: Run) -> OperatingPoint | None:
    """Where at most a point is lost on val, else any that has one threshold, so that every sample leaves at one exit."""
    chosen = [point_of(run, *DROP), *(point for point in run.record.points if point.reached)]
    return next((point for point in chosen if point is not None and len(point.settings) == 1), None)


def _where(point: OperatingPoint) -> str:
    if point.kind == DROP[0]:
        lost = f"{100 * point.target:g} point"
        return f"at most {lost if point.target == 0.01 else f'{lost}s'} lost on val"
    return f"{point.target:g} of the MACs" if point.kind == HALF[0] else f"threshold {point.target:g}"


def _ids(setting: Setting, run: Run, point: OperatingPoint, found: list[Leavers]) -> list[Block]:
    rows = tuple((str(row.block), f"{100 * row.share:.1f} %", " ".join(_marked(row))) for row in found)
    text = (
        f"Ids of test samples by the block after which they leave: {run.method} under {point.policy}, {setting.name}, seed "
        f"{run.seed}, {_where(point)}. Of every class the lowest ids first; a star: answered wrong."
    )
    return [Text(text), Listing(Table(("Block", "Share", "Sample ids"), rows), (0.4, 0.4, 3.0))]


def _marked(row: Leavers) -> list[str]:
    return [str(sample) if right else f"{sample}*" for sample, right in zip(row.sample_id, row.right, strict=True)]
