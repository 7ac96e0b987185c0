"""Whether thresholds may be chosen on a run's val split: not on images that its pretrained weights have seen."""

from __future__ import annotations

from benchmark import registry
from datasets.split_rules import SplitRule, refusal
from results.spec import RunSpec

# Policies that read nothing from val once their threshold is given.
FREE_OF_VAL = ("confidence", "margin", "entropy")


def seen_selection(run: RunSpec) -> str | None:
    """Why a run would choose on images that its weights were trained on; None where nothing is wrong.

    Thresholds that stand in the grid are not chosen, so they are allowed; their operating points say ``fixed``.
    """
    if not run.train.exits or all(policy.name in FREE_OF_VAL and "threshold" in policy.set for policy in run.policies):
        return None
    source = run.train.weights.source
    weights = source.removeprefix("timm:") if source.startswith("timm:") else None
    problem = refusal(registry.card("dataset", run.train.dataset.name), SplitRule.of(run.train.dataset.set), weights)
    if problem is None:
        return None
    fixed = "{name: confidence, set: {threshold: 0.8}}"
    return f"{run.train.backbone}: {problem}; or give every policy a fixed threshold: policies: [{fixed}]"
