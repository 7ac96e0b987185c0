"""Verdicts as rows of a table, and what every verdict requires of its runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.judge.literature import Claims, Reading
from results.judge.verdicts import Estimate, Verdict
from results.tables.run import Run, is_ordered

IMAGES = 200
"""Test images that a verdict needs at least."""
CONTROLS = ("oracle", "random")
"""Policies that cannot be run: the oracle reads labels. `tests` compares them with the registered cards."""
PUBLISHED = "timm:"


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


@dataclass(frozen=True)
class Decision:
    """A verdict on a claim in one setting, with the deciding estimate and the runs behind it."""

    verdict: Verdict
    reason: str
    runs: list[Run]
    estimate: Estimate | None = None
    p: float = np.nan


def judgement(claim: str, reading: Reading, run: Run, decision: Decision, finding: str = "") -> Judgement:
    estimate = decision.estimate
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (np.nan, np.nan, np.nan)
    return Judgement(
        claim=claim, reading=reading.label, backbone=run.backbone, dataset=run.dataset, scheme=run.record.spec.scheme,
        verdict=decision.verdict, value=value, low=low, high=high, interval=estimate.kind if estimate else "", p=decision.p,
        run_ids=" ".join(run.record.run_id for run in decision.runs), reason=decision.reason, finding=finding,
    )  # fmt: skip


def not_run(claim: str, reading: Reading) -> Judgement:
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


def one_per_seed(runs: list[Run]) -> list[Run]:
    """The first run of each seed, by id: the same training under a second id is no further evidence."""
    by_seed: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.record.run_id):
        by_seed.setdefault(run.seed, run)
    return [by_seed[seed] for seed in sorted(by_seed)]


def refusal(chosen: list[Run]) -> Decision | None:
    """A decision where nothing can be tested: a control decides on the exits, earlier images do, or test images are too few."""
    policy = chosen[0].judged_policy
    if policy.partition("(")[0] in CONTROLS:
        return Decision("inconclusive", f"the policy {policy} is a control that no user can run", chosen)
    if is_ordered(policy):
        return Decision(
            "inconclusive", f"the policy {policy} decides by earlier images, which no interval covers", chosen
        )
    images = min(run.record.data.sizes["test"] for run in chosen)
    if images < IMAGES:
        return Decision("inconclusive", f"{images} of the {IMAGES} test images that a verdict needs", chosen)
    return None


def is_reading(run: Run, reading: Reading) -> bool:
    method = run.record.spec.train.method
    return method.name == reading.name and method.set == reading.set


def on_paper_scale(run: Run, claims: Claims) -> bool:
    """Whether a run has a backbone of the paper with weights that timm publishes, the whole of one of its datasets, and at
    least the paper's epochs in each stage. The weights of a file may be anything. The paper has classification alone."""
    train, scope = run.record.spec.train, claims.scope
    stages = {stage.stage for stage in run.record.stages}
    epochs = [getattr(train.recipes, stage).epochs for stage in ("finetune", "joint", "exits") if stage in stages]
    return (
        run.is_classification
        and run.backbone in scope.backbones
        and train.dataset.name in scope.datasets
        and not train.dataset.set
        and train.weights.source.startswith(PUBLISHED)
        and min(epochs, default=0) >= scope.epochs
    )
