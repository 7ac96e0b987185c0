"""Sentences with measured numbers. Only the sentences of `reports.sections.claims` judge claims of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reports.comparison_group import HALF, ComparisonGroup
from reports.numbering import ref
from reports.sections.claims import is_own
from reports.setup import OTHER_TASKS
from reports.study import Study
from reports.weakness import unconverged
from reports.words import compared, counted, few, join
from results.judge.contrast import AHEAD, BEHIND, OPEN
from results.judge.judgement import on_paper_scale
from results.tables.convergence import are_compared
from results.tables.run import Run

MANY = 4
"""Above this number of methods only the range of their values is stated."""


def is_paper_scale(study: Study, run: Run) -> bool:
    """Whether a run may be used to judge a claim of the paper, given enough seeds."""
    return on_paper_scale(run, study.claims)


def details(setting: ComparisonGroup, names: Mapping[str, str]) -> list[str]:
    """Paragraphs about one group: the comparisons, single exits, and the cost of the heads.

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
    exits = ""
    if len(block) == 1:
        share, reached = "The share of all test images that the", ", classifies correctly"
        if not setting.leading.is_classification:
            share, reached = f"The {setting.metric.name} of the", ", on all test images"
        exits = (
            f"{share} first exit, after block {block.pop()}{reached}: "
            f"{_shares(first)} ({ref(f'{setting.number}-exit-accuracy')}). "
        )
    heads = (
        "The count in layers ignores the heads: an image that leaves at no early exit costs more MACs than in the backbone "
        f"without exits, by {_shares(overhead)}."
    )
    return [*_comparisons(setting, names), exits + heads]


def _comparisons(setting: ComparisonGroup, names: Mapping[str, str]) -> list[str]:
    """The reference against the others: half of the MACs and the budget of a primary endpoint in words, the other budgets
    counted, and what may be missed."""
    primary = {budget for (_, budget), contrast in setting.contrasts.items() if contrast.is_primary}
    told = list(dict.fromkeys([*primary, HALF[1]]))
    sentences = [sentence for budget in told for sentence in against_others(setting, budget, names)]
    if not sentences:
        return []
    if late := [names.get(label, label) for label in unconverged(setting)]:
        sentences.insert(
            0,
            f"The heads of {few(late)} have not converged ({ref('convergence')}): differences that involve them describe these "
            "trainings, not the methods.",
        )
    others = [contrast for (_, budget), contrast in setting.contrasts.items() if budget not in told]
    own = names.get(setting.reference, setting.reference)
    if others:
        budgets = sorted({budget for _, budget in setting.contrasts} - set(told))
        counts = {result: sum(contrast.result == result for contrast in others) for result in (AHEAD, BEHIND, OPEN)}
        words = {AHEAD: "ahead", BEHIND: "behind", OPEN: "not shown to differ"}
        found = [f"{words[result]} in {count}" for result, count in counts.items() if count]
        sentences.append(
            f"At {join([f'{budget:g}' for budget in budgets])} of the MACs {own} is {join(found)} of "
            f"{counted(len(others), 'comparison')}."
        )
    half = [contrast for (_, budget), contrast in setting.contrasts.items() if budget == HALF[1]]
    over = "seeds" if any(contrast.estimate.kind == "seeds" for contrast in half) else "test images"
    detectable = max((contrast.detectable for contrast in half), default=0)  # no pair may reach half of the MACs
    if detectable > 0:  # it is 0 where all methods give the same answers
        sentences.append(
            f"With these {over}, a true difference at half of the MACs may be missed if it is below "
            f"{100 * detectable:.1f} points (80 % power, the pair that varies most)."
        )
    return [" ".join(sentences)]


def _shares(values: dict[str, float]) -> str:
    """The share of each method in %; the range if there are many, one value if all are equal."""
    texts = {name: f"{100 * value:.1f} %" for name, value in values.items()}
    if len(set(texts.values())) == 1:
        return f"{next(iter(texts.values()))}{' for every method' if len(texts) > 1 else ''}"
    if len(values) <= MANY:
        return join([f"{text} ({name})" for name, text in texts.items()])
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return f"from {texts[low]} ({low}) to {texts[high]} ({high})"


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
    if others := list(dict.fromkeys(run.record.data.task for run in runs if not run.is_classification)):
        sentences.append(f"The paper reports no {' and no '.join(OTHER_TASKS[task] for task in others)}.")
    if len(seeds) == 1:
        sentences.append("There is one training seed: the intervals cover other test images, not other trainings.")
    elif len(seeds) < 5:
        sentences.append(f"There are {len(seeds)} training seeds; a verdict on the paper needs at least 5.")
    if any(run.has_exits and not run.head_probes for run in runs):
        how = "" if not any(run.is_classification for run in runs) else " (grid key probes, or the command explain)"
        sentences.append(f"Whether all heads have converged was not checked{how}.")
    names = (study.display[run.method] for run in runs if run.head_probes and not are_compared(run))
    if apart := list(dict.fromkeys(names)):
        sentences.append(
            f"Whether the heads of {few(apart)} have converged was not checked, or not at every exit: no probe there has "
            "their loss and their inputs."
        )
    if not any(run.latencies for run in runs):
        sentences.append("Speed-ups are counted, in layers and in MACs; no time was measured.")
    return sentences


def against_others(
    setting: ComparisonGroup, budget: float, names: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """What compares the reference with every other label at a budget: one sentence for each family of comparisons."""
    at = "half" if budget == HALF[1] else f"{budget:g}"
    exploratory = any(contrast.is_primary for contrast in setting.contrasts.values())
    own = names.get(setting.reference, setting.reference)
    sentences: list[str] = []
    for family in ("primary", "other methods", "variants"):
        contrasts = {
            names.get(label, label): contrast
            for (label, target), contrast in setting.contrasts.items()
            if target == budget and contrast.family == family
        }
        if not contrasts:
            continue
        kind = "Primary endpoint: at" if family == "primary" else "Exploratory: at" if exploratory else "At"
        start = f"{kind} the same cost" if sentences else f"{kind} {at} of the MACs, on the same images,"
        on_images = all(contrast.estimate.kind != "seeds" for contrast in contrasts.values())
        scope = f" for the models of {counted(setting.seeds, 'training seed')}" if on_images else ""
        corrected = f"p{scope} after Holm's correction over {setting.corrected_over(contrasts.values())}"
        sentences.append(f"{start} {own} is {'; '.join(compared(contrasts))} ({corrected}).")
    return sentences
