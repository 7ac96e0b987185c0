"""Judges LGViT's claims and published numbers by records: each verdict has its interval, its runs and its reason.

Only runs on the paper's data and models judge a published claim, and only with enough seeds. Results of smaller runs are listed
in the separate column ``finding``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pandas as pd

from results.judge.contrast import Contrast, judge_direction
from results.judge.family import against_others, contenders
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
from results.judge.literature import Claim, Claims, Number, Reading
from results.judge.one_policy import under_one_policy
from results.judge.published_numbers import judge_numbers
from results.judge.verdicts import (
    SEEDS,
    Verdict,
    distinct,
    for_a_headline,
    judge_drop,
    over_samples,
    paired_difference,
)
from results.operating_point import BUDGETS
from results.tables.fixed_speedup import drop_at_speedup
from results.tables.pairing import have_equal_images
from results.tables.run import Run

Contrasts = Callable[[tuple[str, ...], str], Mapping[tuple[str, float], Contrast]]
"""From a setting and the label of a reading to its contrasts with every other method of the setting."""
SMALL = "not the paper's data and models: says nothing about the published claim"


def judge(runs: list[Run], claims: Claims, numbers: Iterable[Number] = ()) -> pd.DataFrame:
    """Every claim for every reading of LGViT, then every published number that runs can be joined with.

    Args:
        runs: finished ones. Those on the user's own images judge no claim; of the others each method of a setting is judged
            under one policy.
        claims: to be judged.
        numbers: to be joined with runs.

    Returns:
        columns as `Judgement`; a claim without a run has one row, "not run".
    """
    runs = under_one_policy(run for run in runs if not run.record.data.is_own)

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
                of_reading += list(_cells(runs, claim, reading, claims, contrasts)) or [not_run(claim.id, reading)]
        rows += of_reading
    rows += [row for reading in claims.readings for row in judge_numbers(runs, reading, numbers, claims)]
    return pd.DataFrame([asdict(row) for row in rows], columns=list(Judgement.__dataclass_fields__))


def _cells(
    runs: list[Run], claim: Claim, reading: Reading, claims: Claims, contrasts: Contrasts
) -> Iterator[Judgement]:
    """A verdict for every setting in which the reading was run."""
    readings = [run for run in runs if is_reading(run, reading)]
    for setting in dict.fromkeys(run.setting for run in readings):
        chosen = one_per_seed([run for run in readings if run.setting == setting])
        if claim.kind == "direction":
            rivals = [run for run in runs if run.setting == setting and _is_rival(run, claim, reading)]
            decision = refusal(chosen) or _direction(chosen, rivals, claim, contrasts(setting, chosen[0].method))
        else:
            decision = refusal(chosen) or _speedup(chosen, claim)
        finding = ""
        if not on_paper_scale(chosen[0], claims):
            finding = f"{decision.verdict}: {decision.reason}"
            decision = replace(decision, verdict="not run", reason=SMALL)
        yield judgement(claim.id, reading, chosen[0], decision, finding)


def _direction(
    chosen: list[Run], runs: list[Run], claim: Claim, tested: Mapping[tuple[str, float], Contrast]
) -> Decision:
    """Judges "more accurate than every rival" at every budget.

    Args:
        chosen: of the reading, one run per seed.
        runs: of its rivals, in the same setting.
        claim: with the number of rivals that it needs.
        tested: the reading against every other method of the setting; see `results.judge.family`.
    """
    rivals = contenders((run.method, run, run.judged_policy) for run in runs)
    if not rivals:
        return Decision("not run", f"no rival was run at equal MACs ({claim.text})", chosen)
    used = [run for runs_ in rivals.values() for run, _ in runs_.values()]
    apart = [run.record.run_id for run in [*chosen, *used] if not have_equal_images(chosen[0], run)]
    if apart:  # the result against a rival on other images is unknown, so the claim over all rivals stays open
        reason = (
            f"trained or tested on other images than {chosen[0].record.run_id}, and so not compared: {', '.join(apart)}"
        )
        return Decision("inconclusive", reason, chosen)
    contrasts = {key: contrast for key, contrast in tested.items() if key[0] in rivals and key[1] in BUDGETS}
    missing = [
        f"{seeds} of {needed} seeds against {name} at {budget:g} of the MACs"
        for name in rivals
        for budget in BUDGETS
        for seeds, needed in [_seeds(contrasts.get((name, budget)))]
        if seeds < needed
    ]
    if len(rivals) < claim.rivals.at_least:
        missing.append(f"{len(rivals)} of {claim.rivals.at_least} rivals")
    if not contrasts:
        return Decision("inconclusive", f"nothing could be compared: {missing[0]}{_more(missing)}", chosen)
    worst = min(contrasts, key=lambda key: contrasts[key].estimate.value)
    smallest = contrasts[worst]
    reason = (
        f"{len(contrasts)} comparisons; the smallest lead is {100 * smallest.estimate.value:+.2f} points "
        f"[{100 * smallest.estimate.low:.2f}, {100 * smallest.estimate.high:.2f}] over {worst[0]} at {worst[1]:g} of the MACs, "
        f"p = {smallest.p:.2g} after Holm's correction over a family of {smallest.tests}"
    )
    verdict = judge_direction(list(contrasts.values()))
    if missing:
        verdict, reason = "inconclusive", f"{reason}; {missing[0]}{_more(missing)}"
    return Decision(verdict, reason, [*chosen, *used], smallest.estimate, smallest.p)


def _seeds(contrast: Contrast | None) -> tuple[int, int]:
    """The seeds with which a pair was compared, and those that a verdict needs: all that either method was run with."""
    return (contrast.seeds, max(SEEDS, contrast.seeds_run)) if contrast is not None else (0, SEEDS)


def _speedup(chosen: list[Run], claim: Claim) -> Decision:
    """Judges "this fast at no larger drop": the speed-up is fixed at the claimed one, and the drop on test is tested.

    A single threshold is one of many, and refutes no claim about another speed-up than its own.
    """
    policy = chosen[0].judged_policy
    one_threshold = any(point.kind == "fixed" for point in chosen[0].record.points if point.policy == policy)
    drops = [drop_at_speedup(run, run.judged_policy, claim.metric, claim.speedup) for run in chosen]
    reached = [drop for drop in drops if drop is not None]
    unit = {"layer": "layers", "mac": "MACs"}[claim.metric]
    if not reached:
        if one_threshold:
            reason = f"the only threshold that was evaluated is slower than {claim.speedup:g}x in {unit}"
            return Decision("inconclusive", reason, chosen)
        verdict = for_a_headline("not reproduced", len(chosen))
        seeds = "" if len(chosen) >= SEEDS else f"; {len(chosen)} of the {SEEDS} training seeds that a verdict needs"
        return Decision(verdict, f"no threshold is {claim.speedup:g}x as fast in {unit}{seeds}", chosen)
    if len({len(drop) for drop in reached}) > 1:
        return Decision("inconclusive", "the seeds were tested on different numbers of images", chosen)
    if (different := distinct(reached)) < len(reached):
        copies = f"{different} of {len(reached)} seeds have different outcomes: the others are copies of one training"
        return Decision("inconclusive", copies, chosen)
    drop, on_samples = (estimate(reached, chosen[0].metric) for estimate in (paired_difference, over_samples))
    ends = f"[{100 * drop.low:.2f}, {100 * drop.high:.2f}]"
    if drop.kind == "seeds":
        ends = f"{ends} over seeds, [{100 * on_samples.low:.2f}, {100 * on_samples.high:.2f}] over test images"
    at = (
        f"at {claim.speedup:g}x in {unit}"
        if not one_threshold
        else f"at the only threshold, faster than {claim.speedup:g}x in {unit},"
    )
    reason = f"{at} the drop is {100 * drop.value:.2f} points {ends}; claimed {100 * claim.drop:g}"
    if len(reached) < len(drops):
        reason = f"{reason}; {len(drops) - len(reached)} of {len(drops)} seeds have no threshold that is this fast"
        return Decision("inconclusive", reason, chosen, drop)
    if len(chosen) < SEEDS:
        reason = f"{reason}; {len(chosen)} of the {SEEDS} training seeds that a verdict needs"
    verdict = judge_drop((drop, on_samples), claim.drop)
    if one_threshold and verdict == "not reproduced":
        verdict, reason = "inconclusive", f"{reason}; other thresholds were not evaluated"
    return Decision(for_a_headline(verdict, len(chosen)), reason, chosen, drop)


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


def _is_rival(run: Run, claim: Claim, reading: Reading) -> bool:
    method = run.record.spec.train.method
    if claim.rivals.prefix is not None:
        alike = all(method.set.get(option) == reading.set.get(option) for option in claim.rivals.alike_in)
        return alike and method.name.startswith(claim.rivals.prefix)
    if method.set.get(claim.rivals.option or "") in claim.rivals.other_readings:
        return False
    others = {key: value for key, value in method.set.items() if key != claim.rivals.option}
    return method.name == reading.name and claim.rivals.option in method.set and others == reading.set
