"""The content of stage keys.

A key is the hash of canonical JSON of

- the kind of the stage,
- the fields of the run that this kind reads: `benchmark.stages.graph` lists them, kind by kind,
- the keys of its parents,
- the versions of the code that it uses: `USES` names the domains of a kind, `DOMAINS` holds their versions.

Registered heads, losses, policies, backbones, datasets, tasks and token reductions have a version of their own on their card,
which is among the fields. Versions are raised by hand, so that a comment does not retrain a model.
`tests/test_code_versions.py` compares the code of every domain and card with the code on file, and derives from the imports
which domains a kind must name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Domain:
    """Code that computes one part of results.

    Attributes:
        version: raise it when the code changes what it computes.
        files: of the domain, as glob patterns relative to the checkout.
    """

    version: int
    files: tuple[str, ...]


DOMAINS = {
    "data": Domain(
        1,
        (
            "datasets/api.py", "datasets/augment.py", "datasets/augmentations.py", "datasets/box_augment.py",
            "datasets/boxes.py", "datasets/class_folders.py", "datasets/crops.py", "datasets/images.py",
            "datasets/joint_augment.py", "datasets/loading.py", "datasets/masks.py", "datasets/shares.py",
            "datasets/split_rules.py", "datasets/splits.py", "datasets/timm_augment.py", "datasets/transforms.py",
            "benchmark/training/inputs.py",
        ),
    ),
    "backbones": Domain(
        1,
        (
            "benchmark/seeds.py", "benchmark/training/backbone.py", "benchmark/training/reduced.py",
            "methods/backbones/backbone.py",
            "methods/backbones/cards.py",
            "methods/backbones/eva.py", "methods/backbones/map_classifier.py",
            "methods/backbones/pretrained.py", "methods/backbones/timm_models.py",
            "methods/reductions/reduction.py", "methods/tasks/task.py", "methods/tokens.py",
        ),
    ),
    "heads": Domain(
        1,
        (
            "benchmark/training/heads.py", "benchmark/training/trained_model.py", "methods/heads/head.py",
            "methods/heads/upsampling.py", "methods/model.py",
        ),
    ),
    "losses": Domain(1, ("methods/losses/terms.py", "methods/losses/training_pass.py")),
    "training": Domain(
        1,
        (
            "benchmark/training/checkpoints.py", "benchmark/training/finetune.py", "benchmark/training/joint.py",
            "benchmark/training/exits.py", "benchmark/training/loop.py", "benchmark/training/optimizer.py",
            "benchmark/training/precision.py", "benchmark/training/ranks.py",
        ),
    ),
    "scoring": Domain(1, ("benchmark/evaluation/detections.py", "benchmark/evaluation/scores.py")),
    "policies": Domain(
        2,
        (
            "methods/policies/policy.py", "methods/policies/bin_accuracy.py", "methods/policies/combined.py",
            "methods/policies/eenet_net.py", "methods/policies/temperature.py",
        ),
    ),
    "evaluation": Domain(
        2,
        (
            "benchmark/evaluation/box_evidence.py", "benchmark/evaluation/class_evidence.py",
            "benchmark/evaluation/decisions.py", "benchmark/evaluation/evaluate.py",
            "benchmark/evaluation/evidence.py", "benchmark/evaluation/pixel_evidence.py", "benchmark/evaluation/redraw.py",
            "benchmark/evaluation/signal_evidence.py", "benchmark/evaluation/sweep.py", "benchmark/evaluation/tables.py",
            "benchmark/evaluation/task_evidence.py", "benchmark/evaluation/token_costs.py", "benchmark/external/evaluation.py",
            "results/stats/average_precision.py", "results/stats/box_matching.py", "results/stats/curves.py",
            "results/stats/hull.py", "results/stats/iou.py",
        ),
    ),
    "cost": Domain(1, ("benchmark/measure/cost.py", "benchmark/measure/price.py")),
    "representations": Domain(
        2,
        (
            "benchmark/representations/features.py", "benchmark/representations/logistic.py",
            "benchmark/representations/probes.py", "benchmark/representations/subject.py",
        ),
    ),
    "measures": Domain(
        1,
        (
            "benchmark/representations/attention_distance.py", "benchmark/representations/frequencies.py",
            "benchmark/representations/gradient_agreement.py", "benchmark/representations/measuring.py",
            "benchmark/representations/similarity.py", "benchmark/representations/token_measures.py",
        ),
    ),
    "timing": Domain(
        2,
        (
            "benchmark/evaluation/stored_runs.py", "benchmark/measure/agreement.py", "benchmark/measure/attention.py",
            "benchmark/measure/audit.py", "benchmark/measure/checked_model.py", "benchmark/measure/dynamic.py",
            "benchmark/measure/finished.py", "benchmark/measure/latency.py", "benchmark/measure/queue.py",
            "benchmark/measure/server.py", "benchmark/measure/timed_run.py",
        ),
    ),
    "importing": Domain(
        3,
        (
            "benchmark/importing/model.py", "methods/official.py", "methods/official_config.py", "methods/official_schema.py",
            "methods/official_names.py",
        ),
    ),
    "external": Domain(1, ("benchmark/external/table.py",)),
}  # fmt: skip

USES = {
    "finetune": ("data", "backbones", "training"),
    "joint": ("data", "backbones", "heads", "losses", "training"),
    "exits": ("data", "backbones", "heads", "losses", "training"),
    "scores": ("data", "backbones", "heads", "scoring"),
    "cost": ("backbones", "heads", "cost"),
    "evaluate": ("policies", "evaluation"),
    "latency": ("timing",),
    "server": ("timing",),
    "probes": ("representations",),
    "representations": ("representations", "measures"),
    "gradients": ("representations", "measures"),
    "imported": ("backbones", "heads", "importing"),
    "external": ("external",),
}
"""The domains that each kind of stage uses in addition to those of its parents; parents come before children."""


def code_versions(kind: str) -> dict[str, int]:
    """The versions that are part of the key of every stage of this kind, by domain."""
    return {domain: DOMAINS[domain].version for domain in USES[kind]}


def stage_key(kind: str, fields: Mapping[str, Any]) -> str:
    """16 hex digits; ``fields`` include the code versions and the parents' keys."""
    text = json.dumps({"stage": kind, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
