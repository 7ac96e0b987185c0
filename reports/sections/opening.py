"""What is asked, and the circumstances under which it was answered."""

from __future__ import annotations

from reports.blocks import Block, Terms, Text
from reports.setup import differences, facts, judged_by
from reports.study import Study

QUESTION = (
    "LGViT [1] attaches exits to a Vision Transformer, convolutional heads (LPH) to the shallow half and "
    "attention heads (GAH) to "
    "the deep half, trains the backbone first and then the heads by self-distillation on the frozen backbone, "
    "and lets a sample "
    "leave at the first exit that is confident. Comparisons of heads hold backbone, exits and loss fixed, so "
    "that only the heads differ; comparisons of training hold the heads fixed.",
    "Speed-ups have three meanings here, and stand side by side. The one in layers, which the paper and its code "
    "use, divides the "
    "depth by the mean block at which samples leave; heads cost nothing in it. The one in MACs divides the "
    "multiply-accumulates "
    "of the backbone without exits by the mean of what really runs: stem, blocks and every head on the way. The one in time "
    "divides measured times, and is there where somebody measured.",
)
RULES = (
    "Thresholds are chosen on val and looked up once on test. Every drop in accuracy is against the backbone "
    "without exits of the "
    "same seed, never against a method's own last exit. At equal MACs the two neighbouring thresholds of a grid "
    "fixed on val are "
    "mixed so that the mean cost on test is exact. Intervals are over test images given the trained models "
    "(bootstrap), or over "
    "training seeds (Student's t), never both. Methods closer than the difference that the images or seeds can show (two-sided "
    "5 %, power 80 %) are not ranked. MACs count convolutions, linear layers, matrix products and attention."
)


def question(_: Study) -> list[Block]:
    return [Text(text) for text in QUESTION]


def setup(study: Study) -> list[Block]:
    items = [
        *facts(study.runs),
        ("Policies", judged_by(study.judged)),
        ("Differs from the original", differences(study)),
    ]
    return [Terms(tuple((what, how) for what, how in items if how)), Terms((("Rules", RULES),))]
