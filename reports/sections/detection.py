"""Detections: scenes with boxes, AP and AP50 over MACs, AP by size of object and exit, and the exit block of every class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.blocks import Block, Drawn, Shown, Text
from reports.captioned import noted
from reports.comparison_group import HALF, ComparisonGroup
from reports.figures.boxes import Boxes, Detected, detected
from reports.figures.scenes import ROWS
from reports.figures.two_metrics import two_metrics
from reports.numbering import ref
from reports.sections.by_class import by_class
from reports.sections.dense_prediction import by_group, exits_taken, frames, shown_exits
from reports.sources import source
from reports.study import Study
from reports.tables import Table, percent
from results.operating_point import BUDGETS
from results.tables.run import STATIC, Run

COLUMNS = 5
"""Exits in the figure of scenes."""
SIZES = {"ap_small": "small", "ap_medium": "medium", "ap_large": "large"}
AREAS = "up to 32², up to 96² and more square pixels of the stored image"


def objects(study: Study) -> list[Block]:
    """For each main group of a detection, figures, sentences and tables; means over training seeds."""
    return by_group(study, "detection", (_scenes, _curves, _sizes, by_class))


def _scenes(study: Study, setting: ComparisonGroup) -> list[Block]:
    """Test images with the boxes that the reference's exits find."""
    run = setting.leading
    pictures = run.pictures[:ROWS]
    reached = exits_taken(run)
    if not pictures or reached is None:
        return []
    point, taken = reached
    last = len(run.record.exits) - 1
    spread = (0, last // 3, 2 * last // 3, last)
    leaving = [taken[picture.sample_id] for picture in pictures]
    shown = shown_exits(spread, leaving, COLUMNS)
    evidence = run.boxes
    positions = np.searchsorted(evidence.sample_id, [picture.sample_id for picture in pictures])
    lowest = _scores_of_as_many(run)
    rows = []
    for picture, position, left in zip(pictures, positions, leaving, strict=True):
        labelled = np.flatnonzero(evidence.truth.image == position)
        label = np.where(evidence.truth.ignored[labelled], -1, evidence.truth.label[labelled])
        truth = Boxes(evidence.truth.boxes[labelled] * picture.scale, label)
        here = evidence.found.image == position
        at = [np.flatnonzero(here & (evidence.found.exit == k) & (evidence.found.score >= lowest[k])) for k in shown]
        found = [Boxes(evidence.found.boxes[rows] * picture.scale, evidence.found.label[rows]) for rows in at]
        rows.append(Detected(picture.image, truth, found, shown.index(left) if left in shown else None))
    blocks = [exit_.block for exit_ in run.record.exits]
    class_names = [run.record.data.class_name(index) for index in range(run.record.data.classes)]
    figure = detected(rows, [f"block {blocks[k]}" for k in shown], class_names)
    name, figure_name = study.display[setting.reference], f"{setting.number}-scenes"
    caption = (
        f"The first test images with their labelled boxes, and the best boxes that {name} finds after some of its exits: over "
        f"all test images, as many at each exit as are labelled. {frames(point, shown, leaving)}"
    )
    return [
        Text(f"{ref(figure_name)} shows boxes of {name} along its exits."),
        Drawn(caption, figure, figure_name, source([run], "pictures.parquet", "report")),
    ]


def _scores_of_as_many(run: Run) -> list[float]:
    """For each exit the score above which it finds as many boxes in the test images as are labelled."""
    evidence = run.boxes
    labelled, lowest = int((~evidence.truth.ignored).sum()), []
    for k in range(evidence.exits):
        scores = np.sort(evidence.found.score[evidence.found.exit == k])[::-1][:labelled]
        lowest.append(float(scores[-1]) if len(scores) else 0.0)
    return lowest


def _curves(study: Study, setting: ComparisonGroup) -> list[Block]:
    """AP and AP50 of every method at equal MACs."""
    rows = study.rows_of("boxes", setting)
    budgets = [f"equal-macs-{budget:g}" for budget in BUDGETS]
    at = {setting.label(run, policy): (run.method, f"{policy}/") for run in setting.exiting for policy in run.policies}
    parts = []
    for label, (method, start) in at.items():
        own = rows[(rows["method"] == method) & rows["point"].isin([start + budget for budget in budgets])]
        means = own.groupby("point")[["macs", "accuracy", "ap50"]].mean().sort_values("macs")
        parts.append(means.assign(label=label))
    table = pd.concat(parts) if parts else pd.DataFrame()
    if table.empty:
        return []
    static = rows[rows["point"] == STATIC][["accuracy", "ap50"]].mean()
    figure = two_metrics(
        table, static, {"accuracy": "test AP (%)", "ap50": "test AP50 (%)"}, study.looks, study.display
    )
    name = f"{setting.number}-ap50"
    caption = (
        f"AP and AP50 (AP at an IoU of 0.5) over mean MACs, at the budgets of equal MACs{study.where(setting)}. Dotted: the "
        "backbone without exits."
    )
    reference = table[table["label"] == setting.reference]
    half = reference[(reference.index.str.endswith(f"{HALF[0]}-{HALF[1]:g}"))]
    text = f"{ref(name)} shows AP50 beside AP."
    if not half.empty and static.all():  # of a backbone that finds nothing, no share is kept
        kept = {column: half[column].iloc[0] / static[column] for column in ("accuracy", "ap50")}
        text = (
            f"At half of the MACs {study.display[setting.reference]} keeps {100 * kept['accuracy']:.0f} % of the AP of the "
            f"backbone without exits, and {100 * kept['ap50']:.0f} % of its AP50, for which boxes may be less exact "
            f"({ref(name)})."
        )
    return [Text(text), Drawn(caption, figure, name, source(setting.runs, "boxes"))]


def _sizes(study: Study, setting: ComparisonGroup) -> list[Block]:
    """AP of the reference's exits by size of object."""
    run = setting.leading
    rows = study.rows_of("exits", setting)
    rows = rows[rows["method"] == run.method]
    columns = ["macs", "accuracy", "ap50", *SIZES, "ar100"]
    exits = rows.groupby("block")[columns].mean()
    boxes = study.rows_of("boxes", setting)
    static = boxes[(boxes["point"] == STATIC) & (boxes["method"] == run.method)][columns].mean()
    if len(exits) < 2:
        return []
    name, table_name = study.display[setting.reference], f"{setting.number}-sizes"
    cells = [
        (str(block), f"{row['macs']:.2f}", *(percent(row[column]) for column in columns[1:]))
        for block, row in exits.iterrows()
    ]
    cells.append(("without exits", "1.00", *(percent(static[column]) for column in columns[1:])))
    header = ("Block", "MACs", "AP", "AP50", "AP small", "AP medium", "AP large", "AR100")
    seeds = f" Means over {rows['seed'].nunique()} training seeds." if rows["seed"].nunique() > 1 else ""
    caption = (
        f"COCO's metrics (%) of every exit of {name} on all test images{study.where(setting)}. MACs: of leaving there, as a "
        f"share of those of the backbone without exits. Small, medium, large: objects whose box has an area of {AREAS}.{seeds}"
    )
    block = Shown(
        noted(caption, run.metric),
        Table(header, tuple(cells)),
        name=table_name,
        source=source(setting.exiting, "exits, boxes"),
    )
    kept = (exits[list(SIZES)].iloc[0] / exits[list(SIZES)].iloc[-1]).to_dict()
    # Not of a size of which there is no object, or of which the final exit finds none.
    known = {words: kept[column] for column, words in SIZES.items() if np.isfinite(kept[column])}
    text = f"{ref(table_name)} has the metrics of every exit."
    if len(known) > 1:
        low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        text = (
            f"The exit of {name} after block {exits.index[0]} reaches {100 * known[high]:.0f} % of the final exit's AP for "
            f"{high} objects, and {100 * known[low]:.0f} % for {low} ones ({ref(table_name)})."
        )
    return [Text(text), block]
