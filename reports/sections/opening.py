"""The question, the setup of the runs, and the rules of comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from reports.blocks import Block, Shown, Terms, Text
from reports.names import head_name
from reports.numbering import ref
from reports.sections.data import data
from reports.setup import differences, facts, judged_by, origins
from reports.study import Study
from reports.tables import DASH, Table
from reports.words import join
from results.judge.family import primary_endpoint

MOST = 30
"""Most rows in the table of methods."""
QUESTION = (
    "LGViT [1] attaches exits to a Vision Transformer: convolutional local perception heads (LPH) in its shallow half, "
    "attention-based global aggregation heads (GAH) in its deep half. The backbone is trained first, then the heads on the "
    "frozen backbone by self-distillation. An image leaves at the first exit that is confident enough."
)
ANSWERS = {
    "segmentation": " Here every exit answers a class for each pixel.",
    "detection": " Here every exit finds boxes of objects, and what it answers is not distilled.",
}
"""By task of the first setting."""
COMPARED = (
    f"{ref('methods')} lists what is compared, {ref('data')} the data. Comparisons of heads hold backbone, exits and recipes "
    "fixed, only the learning rate may differ; comparisons of training hold the heads fixed."
)
SPEEDS = (
    "Three speed-ups stand side by side. In layers, as the paper and its code count: depth over the mean block at which images "
    "leave, so heads cost nothing. In MACs (multiply-accumulates): those of the backbone without exits over the mean of an "
    "image, with stem, blocks and every evaluated head. In time: measured, where it was."
)
RULES = (
    "Thresholds are chosen on val and applied to test once. A drop in {metric} is against the backbone without exits of the "
    "same seed. At equal MACs, two neighbouring thresholds of a grid fixed on val are mixed so that the mean cost on test is "
    "exact. Intervals are over test images, given models and thresholds, or over training seeds (Student's t), never both. "
    "MACs count convolutions, linear layers, matrix products and attention."
)
VALUES = {
    "segmentation": " Intervals and tests of an mIoU use the influence of each image on it (infinitesimal jackknife).",
    "detection": " Intervals and tests of an AP use its change when an image is left out (jackknife). Of each policy 20 "
    "thresholds are evaluated, and intervals over val and test rest on 100 bootstrap draws of the images.",
}
"""By task."""
TESTS = (
    "In each setting one method, LGViT where it was run, is tested against every other method at every budget, with Holm's "
    "correction over these comparisons; its own variants are a family of their own. Significant means a corrected p below "
    "0.05, in claims, tables, figures and sentences alike. With at least five seeds p is the larger one of a paired t test "
    "over seeds and a sign-flip test over images, with fewer that of the sign-flip test."
)


def question_and_setup(study: Study) -> list[Block]:
    """What is asked, how the runs were made, and the rules by which they are compared."""
    items = [
        *facts(study.runs),
        ("Policies", judged_by(study)),
        ("Differs from the paper", differences(study)),
        ("Origins", origins(study.runs)),
    ]
    terms = Terms(tuple((term, text) for term, text in items if text))
    question = QUESTION + ANSWERS.get(study.main[0].leading.record.data.task, "")
    tasks = dict.fromkeys(run.record.data.task for run in study.runs)
    held = RULES.format(metric=study.metric.name) + "".join(VALUES.get(task, "") for task in tasks)
    if study.has_one_method:
        return [Text(question), Text(SPEEDS), *data(study), terms, Terms((("Rules", held),))]
    rules = Terms((("Rules", held), ("Tests", f"{TESTS}{primary(study)}")))
    return [Text(f"{question} {COMPARED}"), Text(SPEEDS), methods(study), *data(study), terms, rules]


def primary(study: Study) -> str:
    """The primary endpoints that grids declared, with a space before each; empty if there are none."""
    sentences = []
    for group in study.main:
        endpoint = primary_endpoint(group.contenders.get(group.reference, {}))
        if endpoint is not None:
            others = join([study.display.get(label, label) for label in endpoint.against])
            sentences.append(
                f" The grid declared its primary endpoint: {study.display[group.reference]} against {others} at "
                f"{endpoint.macs:g} of the MACs. Holm's correction covers these comparisons alone; all others are exploratory."
            )
    return "".join(dict.fromkeys(sentences))


def methods(study: Study) -> Shown:
    """Every method with its name, exit heads, training, learning rates where they differ, and source."""
    rows: dict[str, tuple[str, ...]] = {}
    runs = [run for group in study.main for run in group.runs]
    rates: dict[str, set[float]] = {}
    for run in runs:
        trained = any(stage.stage in ("joint", "exits") for stage in run.record.stages)
        rates.setdefault(run.method, set()).update([run.heads_recipe.lr] if trained else [])
    differ = len(set().union(*rates.values())) > 1
    for run in runs:
        info = run.record.method
        heads = Counter(exit_.head for exit_ in run.record.exits[:-1])
        exits = ", ".join(f"{count} × {head_name(head)}" for head, count in heads.items()) or "none"
        regime = str(info.options.get("regime", DASH)) if run.has_exits else DASH
        loss = heads_loss(info.options, run.record.data.task) if run.has_exits else DASH
        row = (
            study.display.get(run.method, run.method),
            exits,
            regime,
            loss,
            *([", ".join(f"{rate:g}" for rate in sorted(rates[run.method])) or DASH] if differ else []),
            info.citation or "control of this suite",
        )
        rows.setdefault(run.method, row)
    shown = list(rows.values())[:MOST]
    more = f" The first {MOST} of {len(rows)}; the records have all." if len(rows) > MOST else ""
    first = " of the first setting" if len(study.main) > 1 else study.where(study.main[0])
    rate = ["Learning rate"] if differ else []
    learned = " and learning rate" if differ else ""
    caption = f"Methods: heads at the exits{first}, their training, loss{learned}, and source.{more}"
    table = Table(("Method", "Heads at exits", "Training", "Loss", *rate, "Source"), tuple(shown), words=True)
    return Shown(caption, table, name="methods")


def heads_loss(options: Mapping[str, Any], task: str) -> str:
    """The loss with which heads are trained last, by the options in a record: LGViT's or the task's."""
    if "tradeoff" in options:
        return "heads and gates"
    if "regime" not in options:
        return DASH
    frozen = str(options["regime"]).endswith("frozen")
    if task == "detection":
        return "FCOS and features" if frozen and options.get("feature_terms") else "FCOS"
    distilled = frozen and (options.get("kd_weight") or options.get("feature_terms"))
    return "self-distillation" if distilled else "cross-entropy"
