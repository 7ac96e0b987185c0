"""Judges LGViT's claims and published numbers by records: each verdict has its interval, its runs and its reason.

Only runs on the paper's data and models judge a published claim, and only with enough seeds. Results of smaller runs are listed
in the separate column ``finding``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from results.judge.literature import Claim, Claims, Number, Reading
from results.judge.verdicts import (
    SEEDS,
    Estimate,
    Verdict,
    for_a_headline,
    judge_direction,
    judge_number,
    judge_speedup,
    over_runs,
    paired_difference,
)
from results.record import OperatingPoint
from results.tables.points import points
from results.tables.run import Run, paired

BUDGETS = (0.4, 0.5, 0.6, 0.75)
SMALL = "not the paper's data and models: says nothing about the published claim"


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Attributes:
        claim: its id, or the published number.
        reading: the variant of LGViT.
        value, low, high: the measured value with its interval; NaN without a result.
        interval: what the interval is over.
        run_ids: of the runs behind the verdict, joined by spaces.
        reason: of the verdict.
        finding: verdict and reason of runs that are not on the paper's scale; empty for those that are.
    """

    claim: str
    reading: str
    backbone: str
    dataset: str
    scheme: str
    verdict: Verdict
    value: float
    low: float
    high: float
    interval: str
    run_ids: str
    reason: str
    finding: str = ""


def judge(
    runs: list[Run], claims: Claims, numbers: Iterable[Number] = (), table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every claim for every reading of LGViT, then every published number that runs can be joined with.

    Args:
        runs: finished ones.
        claims: to be judged.
        numbers: to be joined with runs.
        table: `results.tables.points.points` of these runs, if at hand.

    Returns:
        columns as `Judgement`; a claim without a run has one row, "not run".
    """
    rows: list[Judgement] = []
    for reading in claims.readings:
        of_reading: list[Judgement] = []
        for claim in claims.claims:
            if claim.kind == "all":
                of_reading.append(_everywhere(claim, reading, of_reading, claims))
            else:
                of_reading += list(_cells(runs, claim, reading, claims, table)) or [_not_run(claim.id, reading)]
        rows += of_reading
    rows += [row for reading in claims.readings for row in _numbers(runs, reading, numbers)]
    return pd.DataFrame([asdict(row) for row in rows], columns=list(Judgement.__dataclass_fields__))


def on_paper_scale(run: Run, claims: Claims) -> bool:
    """Whether a run has a backbone of the paper and the whole of one of its datasets."""
    data = run.record.spec.train.dataset
    return run.backbone in claims.scope.backbones and data.name in claims.scope.datasets and not data.set


def _cells(
    runs: list[Run], claim: Claim, reading: Reading, claims: Claims, table: pd.DataFrame | None
) -> Iterator[Judgement]:
    """A verdict for every setting in which the reading was run."""
    readings = [run for run in runs if _is_reading(run, reading)]
    for setting in dict.fromkeys(run.setting for run in readings):
        chosen = [run for run in readings if run.setting == setting]
        rivals = [run for run in runs if run.setting == setting and _is_rival(run, claim, reading)]
        verdict, estimate, used, reason = (
            _direction(chosen, rivals, claim) if claim.kind == "direction" else _speedup(chosen, claim, table)
        )
        finding = ""
        if not on_paper_scale(chosen[0], claims):
            verdict, finding, reason = "not run", f"{verdict}: {reason}", SMALL
        elif verdict != "not run" and (seeds := len({run.seed for run in chosen})) < SEEDS:
            reason = f"{reason}; {seeds} of the {SEEDS} training seeds that a headline needs"
            verdict = for_a_headline(verdict, seeds)
        yield _judgement(claim.id, reading, chosen[0], verdict, estimate, used, reason, finding)


def _direction(chosen: list[Run], rivals: list[Run], claim: Claim) -> tuple[Verdict, Estimate | None, list[Run], str]:
    """Judges "more accurate than every rival": same seed and policy, at every budget that both reach."""
    estimates: dict[tuple[str, float], Estimate] = {}
    used: dict[str, Run] = {}
    unpaired: dict[str, None] = {}
    rivals_by_method: dict[str, dict[int, Run]] = {}
    for rival in rivals:
        rivals_by_method.setdefault(rival.method, {}).setdefault(rival.seed, rival)
    for method, by_seed in rivals_by_method.items():
        for budget in BUDGETS:
            differences = []
            for run in chosen:
                other = by_seed.get(run.seed)
                point = _at_budget(run, budget)
                against = _at_budget(other, budget) if other is not None else None
                if other is None or point is None or against is None or point.policy != against.policy:
                    continue
                difference = paired(run, point.name, other, against.name)
                if difference is None:
                    unpaired[other.record.run_id] = None
                    continue
                differences.append(difference)
                used |= {run.record.run_id: run, other.record.run_id: other}
            if differences:
                estimates[method, budget] = paired_difference(differences)
    if unpaired:  # the result against a rival on other images is unknown, so the claim over all rivals stays open
        return "inconclusive", None, chosen, f"tested on other images, and so not compared: {', '.join(unpaired)}"
    if not estimates:
        return "not run", None, chosen, f"no rival was run at equal MACs ({claim.text})"
    verdict = judge_direction(list(estimates.values()))
    worst = min(estimates, key=lambda key: estimates[key].value)
    smallest = estimates[worst]
    reason = (
        f"{len(estimates)} comparisons, Holm over all; the smallest lead is {100 * smallest.value:+.1f} points "
        f"[{100 * smallest.low:.1f}, {100 * smallest.high:.1f}] over {worst[0]} at {worst[1]:g} of the MACs"
    )
    return verdict, smallest, list(used.values()), reason


def _speedup(
    chosen: list[Run], claim: Claim, table: pd.DataFrame | None
) -> tuple[Verdict, Estimate | None, list[Run], str]:
    """Judges "at least this fast": thresholds that keep to the permitted drop on val."""
    ids = {run.record.run_id for run in chosen}
    table = points(chosen) if table is None else table[table["run_id"].isin(ids)]
    rows = table[(table["kind"] == "accuracy-drop") & (table["target"] == claim.drop) & table["reached"]]
    rows = rows.drop_duplicates("run_id")  # the first policy of each run
    if rows.empty:
        return "inconclusive", None, chosen, f"no threshold keeps to a drop of {100 * claim.drop:g} points on val"
    first = rows.iloc[0]
    column = f"{claim.metric}_speedup"
    interval = float(first[f"{claim.metric}_low"]), float(first[f"{claim.metric}_high"])
    speedup = over_runs(rows[column].tolist(), interval)
    drop = over_runs(rows["drop"].tolist(), (float(first["drop_low"]), float(first["drop_high"])))
    reason = (
        f"{speedup.value:.2f}x [{speedup.low:.2f}, {speedup.high:.2f}] at a drop of {100 * drop.value:.1f} points "
        f"[{100 * drop.low:.1f}, {100 * drop.high:.1f}]; claimed {claim.speedup:g}x at {100 * claim.drop:g}"
    )
    return judge_speedup(speedup, drop, claim.speedup, claim.drop), speedup, chosen, reason


def _everywhere(claim: Claim, reading: Reading, judged: list[Judgement], claims: Claims) -> Judgement:
    """Judges "everywhere": the claims in `Claim.over`, in every cell of the scope and every exit scheme that was run."""
    rows = [row for row in judged if row.claim in claim.over and not row.finding and row.backbone]
    # The name of a reduced dataset includes its sizes; datasets on the paper's scale have plain names.
    judged_cells = {(row.claim, row.backbone, row.dataset) for row in rows if row.verdict != "not run"}
    required_cells = {
        (name, backbone, data)
        for name in claim.over
        for backbone in claims.scope.backbones
        for data in claims.scope.datasets
    }
    ids = " ".join(dict.fromkeys(name for row in rows for name in row.run_ids.split()))
    verdicts = [row.verdict for row in rows]
    if "not reproduced" in verdicts:
        failed = next(row for row in rows if row.verdict == "not reproduced")
        verdict: Verdict = "not reproduced"
        reason = f"{failed.claim!r} fails on {failed.backbone}, {failed.dataset}, exits {failed.scheme}"
    elif missing := required_cells - judged_cells:
        verdict, reason = (
            "not run",
            f"{len(missing)} of {len(required_cells)} cells of claim, backbone and data were not run",
        )
    elif all(other in ("reproduced", "close") for other in verdicts):
        verdict, reason = "reproduced", f"all {len(rows)} cells"
    else:
        verdict, reason = "inconclusive", f"{verdicts.count('inconclusive')} of {len(rows)} cells are open"
    return Judgement(claim.id, reading.label, "", "", "", verdict, np.nan, np.nan, np.nan, "", ids, reason)


def _numbers(runs: list[Run], reading: Reading, numbers: Iterable[Number]) -> Iterator[Judgement]:
    """Judges published accuracies at a published layer speed-up by the test curves of runs on the same data and model."""
    groups: dict[tuple[object, ...], dict[str, Number]] = {}
    for number in numbers:
        if number.method == "LGViT" and number.metric in ("accuracy", "layer-speedup"):
            key = number.backbone, number.dataset, number.source, number.threshold
            groups.setdefault(key, {})[number.metric] = number
    for pair in groups.values():
        if len(pair) < 2 or pair["accuracy"].dataset is None:
            continue
        accuracy, speedup = pair["accuracy"], pair["layer-speedup"]
        name = f"{accuracy.value:g} % at {speedup.value:g}x in layers ({accuracy.source[:40]}, {accuracy.status})"
        joined = [
            run
            for run in runs
            if _is_reading(run, reading) and run.backbone == accuracy.backbone and run.dataset == accuracy.dataset
        ]
        reached = [(run, value) for run in joined if (value := _accuracy_at(run, speedup.value)) is not None]
        if not reached:
            yield _not_run(name, reading) if not joined else _judgement(
                name, reading, joined[0], "inconclusive", None, joined, "no curve reaches this speed-up", ""
            )  # fmt: skip
            continue
        estimate = over_runs([value for _, (value, _, _) in reached], reached[0][1][1:])
        reason = f"{100 * estimate.value:.1f} % at the same speed-up; published {accuracy.value:g} %"
        used = [run for run, _ in reached]
        verdict = judge_number(estimate, accuracy.value / 100)
        yield _judgement(name, reading, used[0], verdict, estimate, used, reason, "")


def _accuracy_at(run: Run, layer_speedup: float) -> tuple[float, float, float] | None:
    """Test accuracy with interval at a layer speed-up, linear between settings; None if the curve does not reach it."""
    curve = run.curves[run.curves["split"] == "test"]
    curve = curve[curve["policy"] == curve["policy"].iloc[0]].sort_values("mean_block")
    block = run.record.depth / layer_speedup
    blocks = curve["mean_block"].to_numpy()
    if not blocks[0] <= block <= blocks[-1]:
        return None
    value, low, high = (float(np.interp(block, blocks, curve[name])) for name in ("accuracy", "low", "high"))
    return value, low, high


def _at_budget(run: Run, budget: float) -> OperatingPoint | None:
    """The point of the run's first policy at a budget; None if it was not reached."""
    points_there = (p for p in run.record.points if (p.kind, p.target) == ("equal-macs", budget) and p.reached)
    return next(points_there, None)


def _is_reading(run: Run, reading: Reading) -> bool:
    method = run.record.spec.train.method
    return method.name == reading.name and method.set == reading.set


def _is_rival(run: Run, claim: Claim, reading: Reading) -> bool:
    method = run.record.spec.train.method
    if claim.rivals.prefix is not None:
        return method.name.startswith(claim.rivals.prefix)
    others = {key: value for key, value in method.set.items() if key != claim.rivals.option}
    return method.name == reading.name and claim.rivals.option in method.set and others == reading.set


def _judgement(
    claim: str, reading: Reading, run: Run, verdict: Verdict, estimate: Estimate | None, used: list[Run], reason: str,
    finding: str,
) -> Judgement:  # fmt: skip
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (np.nan, np.nan, np.nan)
    return Judgement(
        claim=claim, reading=reading.label, backbone=run.backbone, dataset=run.dataset, scheme=run.record.spec.scheme,
        verdict=verdict, value=value, low=low, high=high, interval=estimate.kind if estimate else "",
        run_ids=" ".join(run.record.run_id for run in used), reason=reason, finding=finding,
    )  # fmt: skip


def _not_run(claim: str, reading: Reading) -> Judgement:
    return Judgement(
        claim, reading.label, "", "", "", "not run", np.nan, np.nan, np.nan, "", "", "no finished run of this reading"
    )
