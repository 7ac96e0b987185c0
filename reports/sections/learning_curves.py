"""How short trainings went, epoch by epoch."""

from __future__ import annotations

from reports.blocks import Block, Drawn, Text
from reports.figures.learning_curves import BACKBONE
from reports.figures.learning_curves import learning_curves as drawn
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import signed
from results.record import FEW_EPOCHS

FIGURE = "learning-curves"
MOST = 10
"""Largest number of lines."""


def learning_curves(study: Study) -> list[Block]:
    """The curves of the first setting and seed; nothing where all trainings are long."""
    setting = study.main[0]
    seed = min(run.seed for run in setting.runs)
    runs = [run for run in setting.runs if run.seed == seed]
    curves: dict[str, tuple[tuple[float, ...], str]] = {}
    for run in runs:
        by_stage = {stage.stage: stage.accuracies for stage in run.record.stages if len(stage.accuracies) > 1}
        if "finetune" in by_stage:
            curves.setdefault("backbone", (by_stage["finetune"], BACKBONE))
        trained = by_stage.get("exits", by_stage.get("joint"))
        look = study.looks.get(run.method)
        if trained and look:
            curves.setdefault(study.display[run.method], (trained, look.color))
    first = f" The first {MOST} of {len(curves)}." if len(curves) > MOST else ""
    curves = dict(list(curves.items())[:MOST])
    if not curves:
        return []
    measured = setting.metric.in_training
    name, (accuracies, _) = next(iter(curves.items()))
    subject = "the backbone" if name == "backbone" else name
    text = (
        f"{ref(FIGURE)} shows the trainings of at most {FEW_EPOCHS} epochs. In its last epoch the {measured} of {subject} on "
        f"train changed by {signed(accuracies[-1] - accuracies[-2])} points."
    )
    caption = (
        f"{measured.capitalize()} on train, mean over the steps of each epoch, seed {seed}: the backbone, and the heads of "
        f"each method (mean over exits).{first} A line that still rises at its end was trained briefly."
    )
    return [Text(text), Drawn(caption, drawn(curves, measured), FIGURE, source(runs, "", "report"))]
