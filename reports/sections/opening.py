"""The question, and the setup of the runs."""

from __future__ import annotations

from collections import Counter

from reports.blocks import Block, Shown, Terms, Text
from reports.names import head_name
from reports.setup import differences, facts, judged_by
from reports.study import Study
from reports.tables import DASH, Table

MOST = 30
"""Most rows in the table of methods."""
QUESTION = (
    "LGViT [1] attaches exits to a Vision Transformer: convolutional heads (LPH) to the shallow half and attention "
    "heads (GAH) to the deep half. It trains the backbone first and then the heads by self-distillation on the "
    "frozen backbone, and a sample leaves at the first exit that is confident. Comparisons of heads keep backbone, "
    "exits and training recipe fixed; methods whose features are not a token map have no feature terms in their loss. "
    "Comparisons of training keep the heads fixed.",
    "This report uses three speed-ups side by side. The speed-up in layers, which the paper and its code use, "
    "divides the depth by the mean block at which samples leave; heads cost nothing in it. The speed-up in MACs "
    "divides the multiply-accumulates of the backbone without exits by the mean over images: stem, blocks and every "
    "evaluated head. The speed-up in time divides measured times, if time was measured.",
)
RULES = (
    "Thresholds are chosen on val and applied to test once. Every drop in accuracy is against the backbone without "
    "exits of the same seed, never against a method's own last exit. At equal MACs, the two neighbouring thresholds "
    "of a grid fixed on val are mixed so that the mean cost on test is exact. Intervals are over test images given "
    "the trained models and their thresholds, or over training seeds (Student's t), never both; they are not corrected "
    "for multiple tests, the p-values are. In each setting one method, LGViT where it was run, is tested against every "
    "other method at every budget, with Holm's correction over all these comparisons; its own variants are a second "
    "family. A difference is significant if the corrected p-value is below 0.05; claims, tables and sentences use the "
    "same one. With at least five seeds it is the larger p of a paired t test over seeds and of a sign-flip test over "
    "images, with fewer that of the sign-flip test alone. MACs count convolutions, linear layers, matrix products and "
    "attention."
)


def question(_: Study) -> list[Block]:
    return [Text(text) for text in QUESTION]


def setup(study: Study) -> list[Block]:
    items = [
        *facts(study.runs),
        ("Policies", judged_by(study)),
        ("Differs from the original", differences(study)),
    ]
    terms = Terms(tuple((term, text) for term, text in items if text))
    return [terms, Terms((("Rules", RULES),)), methods(study)]


def methods(study: Study) -> Shown:
    """Every method with its name, exit heads, training and source."""
    rows: dict[str, tuple[str, ...]] = {}
    for run in (run for group in study.main for run in group.runs):
        info = run.record.method
        heads = Counter(exit_.head for exit_ in run.record.exits[:-1])
        exits = ", ".join(f"{count} × {head_name(head)}" for head, count in heads.items()) or "none"
        regime = str(info.options.get("regime", DASH)) if run.has_exits else DASH
        row = (
            study.display.get(run.method, run.method),
            exits,
            regime,
            info.citation or "control of this suite",
        )
        rows.setdefault(run.method, row)
    shown = list(rows.values())[:MOST]
    more = f" The first {MOST} of {len(rows)}; the records have all." if len(rows) > MOST else ""
    caption = f"Methods: heads at the exits of the first setting, their training and source.{more}"
    return Shown(caption, Table(("Method", "Heads at exits", "Training", "Source"), tuple(shown), words=True))
