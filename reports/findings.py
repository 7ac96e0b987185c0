"""Sentences that carry measured numbers. None of them judges a claim of the paper."""

from __future__ import annotations

import pandas as pd

from reports.tables import interval, percent, signed, times
from results.table import STATIC, Run

SMALL_SCALE = "At small scale, not a test of the published claim:"
MANY = 7
PAPER_BACKBONES = {"vit_base_patch16_224", "deit_base_distilled_patch16_224", "swin_base_patch4_window7_224"}
PAPER_DATASETS = {"cifar-100", "food-101", "imagenet-1k"}


def is_paper_scale(run: Run) -> bool:
    """Whether a run has the data and a backbone of the paper."""
    train = run.record.spec["train"]
    return train["backbone"] in PAPER_BACKBONES and train["dataset"]["name"] in PAPER_DATASETS


def abstract(summary: pd.DataFrame, comparisons: pd.DataFrame, test_images: int, small: bool) -> list[str]:
    """The abstract's sentences about one setting."""
    sentences = []
    static = summary[summary["kind"] == STATIC]
    if not static.empty:
        row = static.iloc[0]
        sentences.append(
            f"{'the' if small else 'The'} {row['backbone']} without exits answers {percent(row['accuracy'])} % "
            f"{interval(row['low'], row['high'])} of {test_images:,} test images of {row['dataset']} right."
        )
    half = _at(summary, "equal-macs", 0.5)
    one = _at(summary, "accuracy-drop", 0.01)
    if summary["label"].nunique() > MANY:
        return _small([*sentences, *_ranges(half, one)], small)
    if not half.empty:
        parts = [f"{row['label']} {percent(row['accuracy'])} %" for _, row in half.iterrows()]
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, the exits keep: {_join(parts)}."
        )
    sentences += against_others(comparisons, lgvit_of(comparisons), 0.5)
    if not one.empty:
        parts = [
            f"{row['label']} {times(row['mac_speedup'])} ({times(row['layer_speedup'])})" for _, row in one.iterrows()
        ]
        drops = [signed(row["drop"]) for _, row in one.iterrows()]
        sentences.append(
            "Allowed to lose at most 1 point on val, they save MACs by a factor of (in brackets: layers, as the paper counts) "
            f"{_join(parts)}; their drops on test are then {_join(drops)} points."
        )
    return _small(sentences, small)


def _small(sentences: list[str], small: bool) -> list[str]:
    return [f"{SMALL_SCALE} {sentences[0]}", *sentences[1:]] if small and sentences else sentences


def _ranges(half: pd.DataFrame, one: pd.DataFrame) -> list[str]:
    """The abstract where there are too many rows to name each: from which to which."""
    sentences = []
    if not half.empty:
        ordered = half.sort_values("accuracy")
        worst, best = ordered.iloc[0], ordered.iloc[-1]
        sentences.append(
            f"At half of its multiply-accumulates, every evaluated head counted, {len(half)} rows keep from "
            f"{percent(worst['accuracy'])} % ({worst['label']}) to {percent(best['accuracy'])} % ({best['label']})."
        )
    if not one.empty:
        ordered = one.sort_values("mac_speedup")
        worst, best = ordered.iloc[0], ordered.iloc[-1]
        sentences.append(
            "Allowed to lose at most 1 point on val, they save MACs by factors from "
            f"{times(worst['mac_speedup'])} ({worst['label']}) to {times(best['mac_speedup'])} ({best['label']})."
        )
    return sentences


def details(runs: list[Run], comparisons: pd.DataFrame) -> list[str]:
    """Paragraphs of the results about one setting: single exits, what the heads cost, and every budget in turn."""
    exiting = [run for run in runs if run.has_exits]
    shallow: dict[str, list[float]] = {}
    for run in exiting:
        shallow.setdefault(run.method, []).append(run.record.exits[0].test_accuracy)
    first = [f"{method} {percent(sum(found) / len(found))} %" for method, found in shallow.items()]
    block = {run.record.exits[0].block for run in exiting}
    paragraphs = []
    if len(block) == 1:
        paragraphs.append(
            f"Asked about every test image, the first exit (after block {block.pop()}) answers right: {_join(first)}."
        )
    price = []
    for run in {run.method: run for run in exiting}.values():
        costs = run.record.costs
        assert costs is not None
        price.append(f"{run.method} {100 * (costs.cumulative[-1] / costs.baseline - 1):.1f} %")
    paragraphs.append(
        "Heads are not free, and layers do not show it: an image that passes every exit without leaving costs more than in the "
        f"backbone without exits, namely {_join(price)}."
    )
    budgets = sorted(comparisons[comparisons["kind"] == "equal-macs"]["target"].unique())
    if comparisons["second"].nunique() > MANY:
        budgets = [budget for budget in budgets if budget == 0.5]  # the table has the others
    for budget in budgets:
        sentences = against_others(comparisons, lgvit_of(comparisons), budget)
        paragraphs += [sentence.replace("There,", f"At {budget:g} of the MACs,", 1) for sentence in sentences]
    return paragraphs


def limits(runs: list[Run]) -> list[str]:
    """What this set of runs cannot show."""
    seeds = {run.seed for run in runs}
    found = []
    if not all(is_paper_scale(run) for run in runs):
        found.append(
            "Data, backbone and training are far from the paper's scale; its claims are neither supported nor refuted."
        )
    if len(seeds) == 1:
        found.append("There is one training seed: the intervals speak of other test images, not of other trainings.")
    elif len(seeds) < 5:
        found.append(f"There are {len(seeds)} training seeds; a headline needs at least 5.")
    if not any(run.latencies for run in runs):
        found.append("Speed-ups are counted, in layers and in MACs; no time was measured.")
    return found


def lgvit_of(comparisons: pd.DataFrame) -> str:
    """The label of LGViT, with or without options; where the rows are policies of one method, that of the first."""
    names = list(dict.fromkeys([*comparisons["first"], *comparisons["second"]]))
    return next((name for name in names if name.split("(")[0].split(",")[0] == "lgvit"), names[0] if names else "lgvit")


def against_others(comparisons: pd.DataFrame, method: str, budget: float) -> list[str]:
    """One sentence: ``method`` against each other one at equal MACs, ranked only beyond the detectable difference."""
    rows = comparisons[(comparisons["kind"] == "equal-macs") & (comparisons["target"] == budget)]
    rows = rows[(rows["first"] == method) | (rows["second"] == method)]
    if rows.empty:
        return []
    above: list[str] = []
    below: list[str] = []
    open_: list[str] = []
    for _, row in rows.iterrows():
        sign = 1 if row["first"] == method else -1
        other = row["second"] if sign == 1 else row["first"]
        low, high = sorted((sign * row["low"], sign * row["high"]))
        seed = f", seed {row['seed']}" if rows["seed"].nunique() > 1 else ""
        text = f"{other} ({signed(sign * row['difference'])} points {interval(low, high)}{seed})"
        if row["low"] <= 0 <= row["high"] or abs(row["difference"]) < row["detectable"]:
            open_.append(text)
        else:
            (above if sign * row["difference"] > 0 else below).append(text)
    parts = [
        *([f"ahead of {_join(above)}"] if above else []),
        *([f"behind {_join(below)}"] if below else []),
        *([f"not to be told apart from {_join(open_)}"] if open_ else []),
    ]
    return [f"There, on the same images, {method} is {'; '.join(parts)}."]


def _at(summary: pd.DataFrame, kind: str, target: float) -> pd.DataFrame:
    return summary[(summary["kind"] == kind) & (summary["target"] == target) & summary["reached"]]


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
