"""Sentences with measured numbers. Only the sentences of `reports.sections.claims` judge claims of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reports.sections.claims import is_own
from reports.study import HALF, ComparisonGroup, Study
from reports.words import compared, join
from results.judge.judgement import on_paper_scale
from results.tables.run import Run

MANY = 7
FEW = 5
"""Above `MANY` methods only the range is stated; above `FEW`, only half of the MACs is compared in words."""


def is_paper_scale(study: Study, run: Run) -> bool:
    """Whether a run may be used to judge a claim of the paper, given enough seeds."""
    return on_paper_scale(run, study.claims)


def details(setting: ComparisonGroup, names: Mapping[str, str]) -> list[str]:
    """Paragraphs about one group: single exits, the cost of the heads, and every budget.

    Args:
        setting: the group.
        names: of methods and labels in sentences.
    """
    shallow: dict[str, list[float]] = {}
    overhead: dict[str, float] = {}
    for run in setting.exiting:
        shallow.setdefault(names[run.method], []).append(run.record.exits[0].test_accuracy)
        costs = run.record.costs
        overhead[names[run.method]] = costs.cumulative[-1] / costs.baseline - 1
    first = {method: sum(values) / len(values) for method, values in shallow.items()}
    block = {run.record.exits[0].block for run in setting.exiting}
    paragraphs = []
    if len(block) == 1:
        paragraphs.append(
            f"The share of all test images that the first exit (after block {block.pop()}) classifies correctly: "
            f"{_shares(first)}."
        )
    paragraphs.append(
        "The count in layers ignores the cost of heads. An image that leaves at no early exit costs more MACs than in "
        f"the backbone without exits: {_shares(overhead)} more."
    )
    budgets = sorted({budget for _, budget in setting.contrasts})
    if len(setting.methods) > FEW:
        budgets = [budget for budget in budgets if budget == HALF[1]]  # the table has the others
    for budget in budgets:
        sentences = against_others(setting, budget, names)
        paragraphs += [sentence.replace("There,", f"At {budget:g} of the MACs,", 1) for sentence in sentences]
    half = [contrast for (_, budget), contrast in setting.contrasts.items() if budget == HALF[1]]
    if half:
        over = "seeds" if any(contrast.estimate.kind == "seeds" for contrast in half) else "test images"
        paragraphs.append(
            f"With these {over} and after the correction for {setting.tests} comparisons, a true difference at half of the "
            f"MACs may be missed if it is below {100 * max(contrast.detectable for contrast in half):.1f} points (80 % power, "
            "the pair that varies most)."
        )
    return paragraphs


def _shares(values: dict[str, float]) -> str:
    """The share of each method in %; the range if there are many, one value if all are equal."""
    if len(values) > 1 and len(shown := {f"{100 * value:.1f} %" for value in values.values()}) == 1:
        return f"{shown.pop()} for every method"
    if len(values) <= MANY:
        return join([f"{name} {100 * value:.1f} %" for name, value in values.items()])
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return f"from {100 * values[low]:.1f} % ({low}) to {100 * values[high]:.1f} % ({high})"


def limits(study: Study) -> list[str]:
    """Limits of this set of runs."""
    runs, seeds = study.runs, {run.seed for run in study.runs}
    sentences = []
    if is_own(study):
        sentences.append("These are the user's own images; no claim of the LGViT paper is judged by them.")
    elif not all(is_paper_scale(study, run) for run in runs):
        sentences.append(
            "Data, backbone and training are far from the paper's scale; its claims are neither supported nor refuted."
        )
    if len(seeds) == 1:
        sentences.append("There is one training seed: the intervals cover other test images, not other trainings.")
    elif len(seeds) < 5:
        sentences.append(f"There are {len(seeds)} training seeds; a headline needs at least 5.")
    if not any(run.latencies for run in runs):
        sentences.append("Speed-ups are counted, in layers and in MACs; no time was measured.")
    return sentences


def against_others(
    setting: ComparisonGroup, budget: float, names: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """One sentence that compares the reference with every other label at a budget."""
    contrasts = {
        names.get(label, label): contrast for (label, target), contrast in setting.contrasts.items() if target == budget
    }
    if not contrasts:
        return []
    corrected = f"p after Holm's correction over {setting.tests} comparisons"
    own = names.get(setting.reference, setting.reference)
    return [f"There, on the same images, {own} is {'; '.join(compared(contrasts))} ({corrected})."]
