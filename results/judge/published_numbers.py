"""Judges published accuracies by the test curves of runs on the same data and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from results.judge.judgement import (
    Decision,
    Judgement,
    is_reading,
    judgement,
    not_run,
    on_paper_scale,
    one_per_seed,
    refusal,
)
from results.judge.literature import Claims, Number, Reading
from results.judge.verdicts import SEEDS, distinct, for_a_headline, judge_number, over_runs
from results.tables.run import Run


def judge_numbers(runs: list[Run], reading: Reading, numbers: Iterable[Number], claims: Claims) -> Iterator[Judgement]:
    """Judges published accuracies at a published layer speed-up by the test curves of runs on the same data and model, setting
    by setting."""
    groups: dict[tuple[object, ...], dict[str, Number]] = {}
    for number in numbers:
        if number.method == "LGViT" and number.metric in ("accuracy", "layer-speedup"):
            key = number.backbone, number.dataset, number.source, number.threshold
            groups.setdefault(key, {})[number.metric] = number
    for pair in groups.values():
        if len(pair) < 2 or pair["accuracy"].dataset is None:
            continue
        accuracy, speedup = pair["accuracy"], pair["layer-speedup"]
        name = f"{accuracy.value:g} % at {speedup.value:g}x in layers ({accuracy.source}, {accuracy.status})"
        joined = [
            run
            for run in runs
            if is_reading(run, reading)
            and (run.backbone, run.dataset) == (accuracy.backbone, accuracy.dataset)
            and on_paper_scale(run, claims)
        ]
        if not joined:
            yield not_run(name, reading)
        for setting in dict.fromkeys(run.setting for run in joined):
            decision = _number(one_per_seed([run for run in joined if run.setting == setting]), accuracy, speedup)
            yield judgement(name, reading, decision.runs[0], decision)


def _number(runs: list[Run], accuracy: Number, speedup: Number) -> Decision:
    if refused := refusal(runs):
        return refused
    reached = [(run, value) for run in runs if (value := _accuracy_at(run, speedup.value)) is not None]
    if not reached:
        return Decision("inconclusive", "no curve reaches this speed-up", runs)
    used = [run for run, _ in reached]
    if (different := distinct([_curve(run).to_numpy() for run in used])) < len(used):
        copies = f"{different} of {len(used)} seeds have different outcomes: the others are copies of one training"
        return Decision("inconclusive", copies, used)
    estimate = over_runs([value for _, (value, _, _) in reached], reached[0][1][1:])
    reason = f"{100 * estimate.value:.1f} % at the same speed-up; published {accuracy.value:g} %"
    if np.isnan(estimate.low):
        reason = f"{reason}; all seeds have the same accuracy, so that there is no interval"
    if len(used) < SEEDS:
        reason = f"{reason}; {len(used)} of the {SEEDS} training seeds that a verdict needs"
    return Decision(for_a_headline(judge_number(estimate, accuracy.value / 100), len(used)), reason, used, estimate)


def _accuracy_at(run: Run, layer_speedup: float) -> tuple[float, float, float] | None:
    """Test accuracy with interval at a layer speed-up, linear between settings; None if the curve does not reach it."""
    curve, block = _curve(run), run.record.depth / layer_speedup
    blocks = curve["mean_block"].to_numpy()
    if not blocks[0] <= block <= blocks[-1]:
        return None
    value, low, high = (float(np.interp(block, blocks, curve[name])) for name in ("accuracy", "low", "high"))
    return value, low, high


def _curve(run: Run) -> pd.DataFrame:
    """The settings of the policy on test, from the earliest exits to the latest."""
    curve = run.curves[(run.curves["split"] == "test") & (run.curves["policy"] == run.judged_policy)]
    return curve.sort_values("mean_block")[["mean_block", "accuracy", "low", "high"]]
