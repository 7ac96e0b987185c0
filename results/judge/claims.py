"""Judges LGViT's claims and published numbers by records: each verdict has its interval, its runs and its reason.

Only runs on the paper's data and models judge a published claim, and only with enough seeds. Results of smaller runs are listed
in the separate column ``finding``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from results.judge.contrast import Contrast, judge_direction
from results.judge.family import against_others, contenders
from results.judge.literature import Claim, Claims, Number, Reading
from results.judge.verdicts import (
    SEEDS,
    Estimate,
    Verdict,
    for_a_headline,
    judge_drop,
    judge_number,
    over_runs,
    paired_difference,
)
from results.tables.fixed_speedup import drop_at_speedup
from results.tables.run import STATIC, Run, are_paired

BUDGETS = (0.4, 0.5, 0.6, 0.75)
IMAGES = 200
"""Test images that a verdict needs at least."""
CONTROLS = ("oracle", "random")
"""Policies that cannot be run: the oracle reads labels. `tests` compares them with the registered cards."""
SCRATCH = "scratch"
Contrasts = Callable[[tuple[str, ...], str], Mapping[tuple[str, float], Contrast]]
"""From a setting and the label of a reading to its contrasts with every other method of the setting."""
SMALL = "not the paper's data and models: says nothing about the published claim"


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Attributes:
        claim: its id, or the published number.
        reading: the variant of LGViT.
        value, low, high: the measured value with its interval; NaN without a result.
        interval: what the interval is over.
        p: of a smallest lead, after Holm's correction; NaN for other claims.
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
    p: float
    run_ids: str
    reason: str
    finding: str = ""


def judge(runs: list[Run], claims: Claims, numbers: Iterable[Number] = ()) -> pd.DataFrame:
    """Every claim for every reading of LGViT, then every published number that runs can be joined with.

    Args:
        runs: finished ones.
        claims: to be judged.
        numbers: to be joined with runs.

    Returns:
        columns as `Judgement`; a claim without a run has one row, "not run".
    """

    @cache
    def contrasts(setting: tuple[str, ...], label: str) -> dict[tuple[str, float], Contrast]:
        beside = (run for run in runs if run.setting == setting and run.has_exits)
        return against_others(label, contenders((run.method, run, run.judged_policy) for run in beside))

    rows: list[Judgement] = []
    for reading in claims.readings:
        of_reading: list[Judgement] = []
        for claim in claims.claims:
            if claim.kind == "all":
                of_reading.append(_everywhere(claim, reading, of_reading, claims))
            else:
                of_reading += list(_cells(runs, claim, reading, claims, contrasts)) or [_not_run(claim.id, reading)]
        rows += of_reading
    rows += [row for reading in claims.readings for row in _numbers(runs, reading, numbers, claims)]
    return pd.DataFrame([asdict(row) for row in rows], columns=list(Judgement.__dataclass_fields__))


def on_paper_scale(run: Run, claims: Claims) -> bool:
    """Whether a run has a backbone of the paper with pretrained weights, the whole of one of its datasets, and at least the
    paper's epochs."""
    train, scope = run.record.spec.train, claims.scope
    heads = train.recipes.joint if "joint" in {stage.stage for stage in run.record.stages} else train.recipes.exits
    return (
        run.backbone in scope.backbones
        and train.dataset.name in scope.datasets
        and not train.dataset.set
        and train.weights.source != SCRATCH
        and heads.epochs >= scope.epochs
    )


@dataclass(frozen=True)
class _Decision:
    """A verdict on a claim in one setting, with the deciding estimate and the runs behind it."""

    verdict: Verdict
    reason: str
    runs: list[Run]
    estimate: Estimate | None = None
    p: float = np.nan


def _cells(
    runs: list[Run], claim: Claim, reading: Reading, claims: Claims, contrasts: Contrasts
) -> Iterator[Judgement]:
    """A verdict for every setting in which the reading was run."""
    readings = [run for run in runs if _is_reading(run, reading)]
    for setting in dict.fromkeys(run.setting for run in readings):
        chosen = _one_per_seed([run for run in readings if run.setting == setting])
        if claim.kind == "direction":
            rivals = [run for run in runs if run.setting == setting and _is_rival(run, claim, reading)]
            decision = _refused(chosen) or _direction(chosen, rivals, claim, contrasts(setting, chosen[0].method))
        else:
            decision = _refused(chosen) or _speedup(chosen, claim)
        finding = ""
        if not on_paper_scale(chosen[0], claims):
            finding = f"{decision.verdict}: {decision.reason}"
            decision = replace(decision, verdict="not run", reason=SMALL)
        yield _judgement(claim.id, reading, chosen[0], decision, finding)


def _one_per_seed(runs: list[Run]) -> list[Run]:
    """The first run of each seed, by id: the same training under a second id is no further evidence."""
    by_seed: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.record.run_id):
        by_seed.setdefault(run.seed, run)
    return [by_seed[seed] for seed in sorted(by_seed)]


def _refused(chosen: list[Run]) -> _Decision | None:
    """A decision where nothing can be tested: a control decides on the exits, or there are too few test images."""
    policy = chosen[0].judged_policy
    if policy.partition("(")[0] in CONTROLS:
        return _Decision("inconclusive", f"the policy {policy} is a control that no user can run", chosen)
    images = min(run.record.data.sizes["test"] for run in chosen)
    if images < IMAGES:
        return _Decision("inconclusive", f"{images} of the {IMAGES} test images that a verdict needs", chosen)
    return None


def _direction(
    chosen: list[Run], runs: list[Run], claim: Claim, tested: Mapping[tuple[str, float], Contrast]
) -> _Decision:
    """Judges "more accurate than every rival" at every budget.

    Args:
        chosen: of the reading, one run per seed.
        runs: of its rivals, in the same setting.
        claim: with the number of rivals that it needs.
        tested: the reading against every other method of the setting; see `results.judge.family`.
    """
    rivals = contenders((run.method, run, run.judged_policy) for run in runs)
    if not rivals:
        return _Decision("not run", f"no rival was run at equal MACs ({claim.text})", chosen)
    used = [run for runs_ in rivals.values() for run, _ in runs_.values()]
    apart = [run.record.run_id for run in used if not are_paired(chosen[0], STATIC, run, STATIC)]
    if apart:  # the result against a rival on other images is unknown, so the claim over all rivals stays open
        return _Decision("inconclusive", f"tested on other images, and so not compared: {', '.join(apart)}", chosen)
    contrasts = {key: contrast for key, contrast in tested.items() if key[0] in rivals and key[1] in BUDGETS}
    missing = [
        f"{seeds} of {SEEDS} seeds against {name} at {budget:g} of the MACs"
        for name in rivals
        for budget in BUDGETS
        if (seeds := contrasts[name, budget].seeds if (name, budget) in contrasts else 0) < SEEDS
    ]
    if len(rivals) < claim.rivals.at_least:
        missing.append(f"{len(rivals)} of {claim.rivals.at_least} rivals")
    if not contrasts:
        return _Decision("inconclusive", f"nothing could be compared: {missing[0]}{_more(missing)}", chosen)
    worst = min(contrasts, key=lambda key: contrasts[key].estimate.value)
    smallest = contrasts[worst]
    reason = (
        f"{len(contrasts)} of the {smallest.tests} comparisons that Holm's correction covers; the smallest lead is "
        f"{100 * smallest.estimate.value:+.1f} points [{100 * smallest.estimate.low:.1f}, "
        f"{100 * smallest.estimate.high:.1f}], p = {smallest.p:.2g}, over {worst[0]} at {worst[1]:g} of the MACs"
    )
    verdict = judge_direction(list(contrasts.values()))
    if missing:
        verdict, reason = "inconclusive", f"{reason}; {missing[0]}{_more(missing)}"
    return _Decision(verdict, reason, [*chosen, *used], smallest.estimate, smallest.p)


def _speedup(chosen: list[Run], claim: Claim) -> _Decision:
    """Judges "this fast at no larger drop": the speed-up is fixed at the claimed one, and the drop on test is tested."""
    drops = [drop_at_speedup(run, run.judged_policy, claim.metric, claim.speedup) for run in chosen]
    reached = [drop for drop in drops if drop is not None]
    unit = {"layer": "layers", "mac": "MACs"}[claim.metric]
    if not reached:
        verdict = for_a_headline("not reproduced", len(chosen))
        return _Decision(verdict, f"no setting is {claim.speedup:g}x as fast in {unit}", chosen)
    if len({len(drop) for drop in reached}) > 1:
        return _Decision("inconclusive", "the seeds were tested on different numbers of images", chosen)
    drop = paired_difference(reached)
    reason = (
        f"at {claim.speedup:g}x in {unit} the drop is {100 * drop.value:.1f} points "
        f"[{100 * drop.low:.1f}, {100 * drop.high:.1f}]; claimed {100 * claim.drop:g}"
    )
    if len(reached) < len(drops):
        reason = f"{reason}; {len(drops) - len(reached)} of {len(drops)} seeds have no setting that is this fast"
        return _Decision("inconclusive", reason, chosen, drop)
    if len(chosen) < SEEDS:
        reason = f"{reason}; {len(chosen)} of the {SEEDS} training seeds that a headline needs"
    verdict = for_a_headline(judge_drop(drop, claim.drop), len(chosen))
    return _Decision(verdict, reason, chosen, drop)


def _more(items: list[str]) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


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
    return Judgement(claim.id, reading.label, "", "", "", verdict, np.nan, np.nan, np.nan, "", np.nan, ids, reason)


def _numbers(runs: list[Run], reading: Reading, numbers: Iterable[Number], claims: Claims) -> Iterator[Judgement]:
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
            if _is_reading(run, reading)
            and (run.backbone, run.dataset) == (accuracy.backbone, accuracy.dataset)
            and on_paper_scale(run, claims)
        ]
        if not joined:
            yield _not_run(name, reading)
        for setting in dict.fromkeys(run.setting for run in joined):
            decision = _number(_one_per_seed([run for run in joined if run.setting == setting]), accuracy, speedup)
            yield _judgement(name, reading, decision.runs[0], decision)


def _number(runs: list[Run], accuracy: Number, speedup: Number) -> _Decision:
    if refused := _refused(runs):
        return refused
    reached = [(run, value) for run in runs if (value := _accuracy_at(run, speedup.value)) is not None]
    if not reached:
        return _Decision("inconclusive", "no curve reaches this speed-up", runs)
    used = [run for run, _ in reached]
    estimate = over_runs([value for _, (value, _, _) in reached], reached[0][1][1:])
    reason = f"{100 * estimate.value:.1f} % at the same speed-up; published {accuracy.value:g} %"
    if len(used) < SEEDS:
        reason = f"{reason}; {len(used)} of the {SEEDS} training seeds that a headline needs"
    return _Decision(for_a_headline(judge_number(estimate, accuracy.value / 100), len(used)), reason, used, estimate)


def _accuracy_at(run: Run, layer_speedup: float) -> tuple[float, float, float] | None:
    """Test accuracy with interval at a layer speed-up, linear between settings; None if the curve does not reach it."""
    curve = run.curves[(run.curves["split"] == "test") & (run.curves["policy"] == run.judged_policy)]
    curve = curve.sort_values("mean_block")
    block = run.record.depth / layer_speedup
    blocks = curve["mean_block"].to_numpy()
    if not blocks[0] <= block <= blocks[-1]:
        return None
    value, low, high = (float(np.interp(block, blocks, curve[name])) for name in ("accuracy", "low", "high"))
    return value, low, high


def _is_reading(run: Run, reading: Reading) -> bool:
    method = run.record.spec.train.method
    return method.name == reading.name and method.set == reading.set


def _is_rival(run: Run, claim: Claim, reading: Reading) -> bool:
    method = run.record.spec.train.method
    if claim.rivals.prefix is not None:
        return method.name.startswith(claim.rivals.prefix)
    others = {key: value for key, value in method.set.items() if key != claim.rivals.option}
    return method.name == reading.name and claim.rivals.option in method.set and others == reading.set


def _judgement(claim: str, reading: Reading, run: Run, decision: _Decision, finding: str = "") -> Judgement:
    estimate = decision.estimate
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (np.nan, np.nan, np.nan)
    return Judgement(
        claim=claim, reading=reading.label, backbone=run.backbone, dataset=run.dataset, scheme=run.record.spec.scheme,
        verdict=decision.verdict, value=value, low=low, high=high, interval=estimate.kind if estimate else "", p=decision.p,
        run_ids=" ".join(run.record.run_id for run in decision.runs), reason=decision.reason, finding=finding,
    )  # fmt: skip


def _not_run(claim: str, reading: Reading) -> Judgement:
    return Judgement(
        claim,
        reading.label,
        "",
        "",
        "",
        "not run",
        np.nan,
        np.nan,
        np.nan,
        "",
        np.nan,
        "",
        "no finished run of this reading",
    )
