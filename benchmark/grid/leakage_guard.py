"""Refuses to choose thresholds on images that the pretrained weights were trained on."""

from __future__ import annotations

from benchmark import registry
from datasets.split_rules import SplitRule, refusal
from results.spec import Configured, RunSpec


def seen_selection(run: RunSpec) -> str | None:
    """The reason why a run may not choose thresholds on its val split; None if it may.

    Thresholds that the grid fixes are not chosen, so they are allowed; their operating points are of kind ``fixed``.
    """
    if not run.train.exits or all(map(_ignores_val, run.policies)):
        return None
    source = run.train.weights.source
    weights = source.partition(":")[2] if source.startswith(("timm:", "bundled:")) else None
    problem = refusal(registry.card("dataset", run.train.dataset.name), SplitRule.of(run.train.dataset.set), weights)
    if problem is None:
        return None
    fixed = "{name: confidence, set: {threshold: 0.8}}"
    return f"{run.train.backbone}: {problem}; or give every policy a fixed threshold: policies: [{fixed}]"


def _ignores_val(policy: Configured) -> bool:
    return "threshold" in policy.set and registry.card("policy", policy.name).fixed_threshold_ignores_val
