"""Segmentations: the IoU and the exit block of every class, and how much of regions and of boundaries each exit finds."""

from __future__ import annotations

from functools import partial

from reports.blocks import Block, Drawn, Text
from reports.comparison_group import ComparisonGroup
from reports.figures.scenes import ROWS, Scene, scenes
from reports.numbering import ref
from reports.sections.by_class import by_class
from reports.sections.dense_prediction import by_group, exits_taken, frames, shown_exits
from reports.sources import source
from reports.study import Study
from reports.tables import percent
from results.tables.run import Run

COLUMNS = 6
"""Exits in the figure of scenes."""
UNLISTED = "Classes without labelled pixels have no row; where one is answered, its IoU of 0 counts in the mIoU."


def classes_and_boundaries(study: Study) -> list[Block]:
    """For each main group of a segmentation, sentences and a table about the reference; means over training seeds."""
    return by_group(study, "segmentation", (_scenes, _boundaries, partial(by_class, unlisted=UNLISTED)))


def _scenes(study: Study, setting: ComparisonGroup) -> list[Block]:
    """Test images with the answers of the reference's exits."""
    run = setting.leading
    examples = run.examples[:ROWS]
    reached = exits_taken(run)
    if not examples or reached is None:
        return []
    point, taken = reached
    count = len(run.record.exits)
    spread = (0, count // 3, 2 * count // 3, count - 1)
    leaving = [taken[example.sample_id] for example in examples]
    shown = shown_exits(spread, leaving, COLUMNS)
    tokens = _token_exit(setting, [example.sample_id for example in examples])
    left = {example.sample_id: example for example in tokens.examples} if tokens else {}
    rows = [Scene(example, taken[example.sample_id], left.get(example.sample_id)) for example in examples]
    blocks = [exit_.block for exit_ in run.record.exits]
    token_blocks = (*tokens.record.spec.train.token_exits, blocks[-1]) if tokens else ()
    class_names = [run.record.data.class_name(index) for index in range(run.record.data.classes)]
    figure = scenes(rows, blocks, class_names, shown, token_blocks)
    name, figure_name = study.display[setting.reference], f"{setting.number}-scenes"
    caption = (
        f"The first test images, their labels and the answers of {name} after some of its exits, in patches. "
        f"{frames(point, shown, leaving)}"
    )
    sentence = f"{ref(figure_name)} shows answers of {name} along its exits."
    if tokens:
        other, share = study.display[tokens.method], tokens.record.costs.cumulative[0] / tokens.record.costs.baseline
        caption += (
            f" The last two columns are of {other}, with {100 * share:.0f} % of the MACs of the backbone: its answer, and the "
            "block after which each token left."
        )
        sentence = f"{ref(figure_name)} shows answers of {name} along its exits, and where tokens left with {other}."
    runs = [run, tokens] if tokens else [run]
    return [Text(sentence), Drawn(caption, figure, figure_name, source(runs, "examples.parquet", "report"))]


def _token_exit(setting: ComparisonGroup, sample_ids: list[int]) -> Run | None:
    """The run whose tokens leave and whose cost is nearest to half of the MACs, of the seed of the reference, if any."""
    runs = [run for run in setting.runs if run.record.spec.train.token_exits and run.seed == setting.leading.seed]
    shown = [run for run in runs if {e.sample_id for e in run.examples if e.left is not None} >= set(sample_ids)]
    costs = [run.record.costs.cumulative[0] / run.record.costs.baseline for run in shown]
    return min(zip(costs, shown, strict=True), key=lambda pair: abs(pair[0] - 0.5))[1] if shown else None


def _boundaries(study: Study, setting: ComparisonGroup) -> list[Block]:
    """What the first exit of the reference finds of regions and of boundaries, as a share of what the final exit finds."""
    rows = study.rows_of("exits", setting)
    rows = rows[rows["method"] == setting.leading.method]
    means = rows.groupby("block")[["accuracy", "boundary_iou"]].mean()
    if len(means) < 2 or not (means.iloc[-1] > 0).all():  # of an exit that finds nothing there is no share
        return []
    first, final = means.iloc[0], means.iloc[-1]
    region, edge = first["accuracy"] / final["accuracy"], first["boundary_iou"] / final["boundary_iou"]
    return [
        Text(
            f"The exit of {study.display[setting.leading.method]} after block {means.index[0]} reaches an mIoU of "
            f"{percent(first['accuracy'])} %, which is {100 * region:.0f} % of that of the final exit, and a boundary IoU of "
            f"{percent(first['boundary_iou'])} %, which is {100 * edge:.0f} % of it ({ref(f'{setting.number}-exit-accuracy')})."
        )
    ]
