"""Sentences with measured numbers. Only the sentences of `reports.sections.claims` judge claims of the paper."""

from __future__ import annotations

from reports.sections.claims import verdict_sentence
from reports.study import DROP, HALF, ComparisonGroup, Study
from reports.tables import interval, percent, signed, times
from reports.weakness import weakness
from reports.words import compared, counted, join
from results.judge.judgement import on_paper_scale
from results.tables.run import STATIC, Run

MANY = 7
FEW = 5
"""Above `MANY` methods only the range is stated; above `FEW`, only half of the MACs is compared in words."""


def is_paper_scale(study: Study, run: Run) -> bool:
    """Whether a run may be used to judge a claim of the paper, given enough seeds."""
    return on_paper_scale(run, study.claims)


def abstract(study: Study) -> list[str]:
    """The sentences of the abstract: what was run, the results of the first group, and the verdicts."""
    setting = study.main[0]
    methods = len({run.method for run in study.runs if run.has_exits})
    where = join(list(dict.fromkeys(f"{s.where['backbone']} on {s.where['dataset']}" for s in study.main)))
    sentences = [
        f"This report is based on {counted(len(study.runs), 'run')}: {counted(methods, 'method')} with early exits "
        f"and the backbones without exits, {_seed_counts(study)}, on {where}.",
    ]
    if weak := weakness(study, setting):
        return [*sentences, *weak, *verdict_sentence(study)]
    sentences += _without_exits(setting)
    sentences += _values(setting) if setting.totals["label"].nunique() <= MANY else _ranges(setting)
    return [*sentences, *verdict_sentence(study)]


def _without_exits(setting: ComparisonGroup) -> list[str]:
    static = setting.totals[setting.totals["kind"] == STATIC]
    if static.empty:
        return []
    row, images = static.iloc[0], setting.runs[0].record.data
    return [
        f"The {row['backbone']} without exits classifies {percent(row['accuracy'])} % "
        f"{interval(row['low'], row['high'])} of {images.sizes['test']:,} test images of {row['dataset']} correctly."
    ]


def _values(setting: ComparisonGroup) -> list[str]:
    sentences, half, one = [], setting.at(HALF), setting.at(DROP)
    if not half.empty:
        parts = [f"{row['label']} {percent(row['accuracy'])} %" for _, row in half.iterrows()]
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, the methods reach: {join(parts)}."
        )
    sentences += against_others(setting, HALF[1])
    if not one.empty:
        parts = [
            f"{row['label']} {times(row['mac_speedup'])} ({times(row['layer_speedup'])})" for _, row in one.iterrows()
        ]
        drops = [signed(row["drop"]) for _, row in one.iterrows()]
        sentences.append(
            "With thresholds that lose at most 1 point on val, the speed-up in MACs (in brackets: in layers, as the "
            f"paper counts) is {join(parts)}; {'the drops on test are' if len(drops) > 1 else 'the drop on test is'} "
            f"{join(drops)} points."
        )
    return sentences


def _ranges(setting: ComparisonGroup) -> list[str]:
    """The range over all rows, and the row of LGViT; used if there are too many rows to list each."""
    sentences, half, one = [], setting.at(HALF), setting.at(DROP)
    lgvit = setting.reference
    if not half.empty:
        ordered = half.sort_values("accuracy")
        worst, best, lgvit_rows = ordered.iloc[0], ordered.iloc[-1], half[half["label"] == lgvit]
        own = f"; {lgvit} reaches {percent(lgvit_rows.iloc[0]['accuracy'])} %" if not lgvit_rows.empty else ""
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, the {len(half)} {_rows(setting)} "
            f"reach from {percent(worst['accuracy'])} % ({worst['label']}) to {percent(best['accuracy'])} % "
            f"({best['label']}){own}."
        )
    sentences += against_others(setting, HALF[1])
    if not one.empty:
        ordered = one.sort_values("mac_speedup")
        worst, best, lgvit_rows = ordered.iloc[0], ordered.iloc[-1], one[one["label"] == lgvit]
        own = ""
        if not lgvit_rows.empty:
            row = lgvit_rows.iloc[0]
            own = (
                f"; of {lgvit} it is {times(row['mac_speedup'])} ({times(row['layer_speedup'])} in layers, as the "
                f"paper counts), with a drop of {signed(row['drop'])} points on test"
            )
        sentences.append(
            "With thresholds that lose at most 1 point on val, the speed-up in MACs ranges from "
            f"{times(worst['mac_speedup'])} ({worst['label']}) to {times(best['mac_speedup'])} ({best['label']}){own}."
        )
    return sentences


def _seed_counts(study: Study) -> str:
    """The number of training seeds, or its range if the groups differ."""
    counts = sorted({group.seeds for group in study.main})
    if len(counts) == 1:
        return counted(counts[0], "training seed")
    return f"{counts[0]} to {counted(counts[-1], 'training seed')} per setting"


def _rows(setting: ComparisonGroup) -> str:
    return "methods" if len({run.method for run in setting.exiting}) > 1 else "policies"


def details(setting: ComparisonGroup) -> list[str]:
    """Paragraphs about one group: single exits, the cost of the heads, and every budget."""
    shallow: dict[str, list[float]] = {}
    overhead: dict[str, float] = {}
    for run in setting.exiting:
        shallow.setdefault(run.method, []).append(run.record.exits[0].test_accuracy)
        costs = run.record.costs
        overhead[run.method] = costs.cumulative[-1] / costs.baseline - 1
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
        sentences = against_others(setting, budget)
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
    if all(run.record.data.is_own for run in runs):
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


def against_others(setting: ComparisonGroup, budget: float) -> list[str]:
    """One sentence that compares the reference with every other label at a budget."""
    contrasts = {label: contrast for (label, target), contrast in setting.contrasts.items() if target == budget}
    if not contrasts:
        return []
    corrected = f"p after Holm's correction over {setting.tests} comparisons"
    return [f"There, on the same images, {setting.reference} is {'; '.join(compared(contrasts))} ({corrected})."]
