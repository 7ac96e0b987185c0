"""The stage graph: a run is a chain of stages, and a stage's key says exactly what it read.

    finetune -> exits -> scores ---> evaluate (the record)
       \\------> scores (static) --/   cost --/

A key hashes the fields that the stage reads, its parents' keys and the code version. Runs that share a key share the
artifact. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.spec import Recipe, RunSpec, Selection, TrainSpec
from methods.api import BackboneCard, Choice, Method


@dataclass(frozen=True)
class StageCode:
    """The code of one kind of stage.

    Attributes:
        version: raised by hand when the modules change what they compute. A test compares the modules' syntax trees with
            those on file and asks for either a new version or a stated reason why nothing changes.
        modules: the files that compute the stage; cards (backbones, heads, ...) have versions of their own.
    """

    version: int
    modules: tuple[str, ...]


STAGES = {
    "finetune": StageCode(
        1,
        (
            "benchmark/pipeline/fit.py",
            "benchmark/pipeline/finetune.py",
            "benchmark/pipeline/optimizer.py",
            "benchmark/pipeline/inputs.py",
            "benchmark/seeds.py",
            "datasets/augment.py",
            "datasets/loading.py",
            "datasets/splits.py",
            "datasets/transforms.py",
            "methods/backbones/backbone.py",
            "methods/tokens.py",
        ),
    ),
    "exits": StageCode(
        1,
        (
            "benchmark/pipeline/exits.py",
            "benchmark/pipeline/fit.py",
            "benchmark/pipeline/optimizer.py",
            "methods/heads/head.py",
            "methods/model.py",
        ),
    ),
    "scores": StageCode(1, ("benchmark/pipeline/score.py", "methods/model.py")),
    "cost": StageCode(1, ("benchmark/measure/cost.py", "methods/model.py")),
    "evaluate": StageCode(
        2,
        (
            "benchmark/pipeline/evaluate.py",
            "benchmark/pipeline/sweep.py",
            "methods/policies/policy.py",
            "results/curves.py",
            "results/hull.py",
        ),
    ),
    "latency": StageCode(
        1,
        (
            "benchmark/measure/dynamic.py",
            "benchmark/measure/latency.py",
            "benchmark/measure/timed_run.py",
        ),
    ),
}
TRAINED = ("finetune", "exits")


@dataclass(frozen=True, eq=False)
class Stage:
    """A node of the graph.

    Attributes:
        kind: a key of `STAGES`.
        key: 16 hex digits.
        fields: what the key was made of, parents' keys and code version included.
        parents: what must be there first.
        run: a run that needs it; any one, as they agree on all that the stage reads.
    """

    kind: str
    key: str
    fields: dict[str, Any]
    parents: tuple[Stage, ...]
    run: RunSpec

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.key}"

    @property
    def shared_pass(self) -> str | None:
        """Stages with the same value are trained in one pass: heads on the same frozen backbone with the same recipe."""
        if self.kind != "exits":
            return None
        return json.dumps([self.parents[0].key, self.fields["recipe"], self.fields["seed"]], sort_keys=True)


@dataclass(frozen=True)
class RunStages:
    """The stages of one run, parents before children; the last one is ``evaluate``."""

    spec: RunSpec
    run_id: str
    finetune: Stage
    exits: Stage | None
    scores: Stage
    static_scores: Stage
    cost: Stage
    evaluate: Stage

    @property
    def chain(self) -> tuple[Stage, ...]:
        """Every stage that leaves an artifact, in an order that can be executed.

        The cost comes first: it takes a second, and a model that cannot be priced should not be trained.
        """
        stages = [self.cost, self.finetune, self.exits, self.static_scores, self.scores]
        return tuple(dict.fromkeys(stage for stage in stages if stage is not None))


def method_of(train: TrainSpec) -> Method:
    return registry.configured("method", train.method.name, train.method.set)


def heads_of(train: TrainSpec) -> tuple[Choice, ...]:
    return method_of(train).heads(len(train.exits))


def run_stages(run: RunSpec) -> RunStages:
    """The stages of a run, with their keys."""
    train = run.train
    backbone: BackboneCard = registry.card("backbone", train.backbone)
    dataset = registry.card("dataset", train.dataset.name)
    classes = len(dataset.classes)
    data = {
        "name": train.dataset.name,
        "sizes": {**dataset.sizes, **train.dataset.set},
        "fingerprint": dataset.fingerprint,
        "code_version": dataset.code_version,
    }
    network = {"name": train.backbone, "code_version": backbone.code_version, "num_classes": classes}

    finetune = _stage(
        "finetune",
        {
            "dataset": _train_only(data),
            "backbone": network,
            "recipe": _recipe(train.recipes.finetune),
            "seed": train.seed,
        },
        (),
        run,
    )
    exits = None
    heads = [_choice("head", head) for head in heads_of(train)]
    placed = {"exits": list(train.exits), "heads": heads}
    for training in method_of(train).stages():
        fields = placed | {
            "loss": _choice("loss", training.loss),
            "recipe": _recipe(train.recipes.exits),
            "seed": train.seed,
        }
        exits = _stage("exits", fields, (finetune,), run)
    static_scores = _stage("scores", {"dataset": data}, (finetune,), run)
    scores = static_scores if exits is None else _stage("scores", {"dataset": data}, (exits,), run)
    cost = _stage("cost", {"backbone": network, **placed}, (), run)
    policies = [_policy(policy) for policy in run.policies] if heads else []
    evaluate = _stage("evaluate", {"policies": policies}, tuple(dict.fromkeys((scores, static_scores, cost))), run)
    run_id = "-".join(
        _slug(part)
        for part in (
            train.method.label,
            train.backbone,
            train.dataset.name,
            run.scheme,
            f"s{train.seed}",
            evaluate.key[:8],
        )
    )
    return RunStages(run, run_id, finetune, exits, scores, static_scores, cost, evaluate)


def latency_stage(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and complete fields of a measurement of time, keyed by run, operating point and device; no run waits for it."""
    complete = {"code_version": STAGES["latency"].version, **fields}
    return f"latency-{_key('latency', complete)}", complete


def _stage(kind: str, fields: dict[str, Any], parents: tuple[Stage, ...], run: RunSpec) -> Stage:
    complete = {
        "code_version": STAGES[kind].version,
        "parents": {f"{i}:{parent.kind}": parent.key for i, parent in enumerate(parents)},
        **fields,
    }
    return Stage(kind, _key(kind, complete), complete, parents, run)


def _key(kind: str, fields: dict[str, Any]) -> str:
    text = json.dumps({"stage": kind, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _train_only(data: dict[str, Any]) -> dict[str, Any]:
    """Training reads the train split alone: a change of the others must not retrain."""
    return data | {"sizes": {"train": data["sizes"]["train"]}}


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _choice(kind: str, choice: Choice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "options": dict(choice.options),
        "code_version": registry.card(kind, choice.name).code_version,
    }


def _policy(policy: Selection) -> dict[str, Any]:
    return _choice("policy", Choice(policy.name, policy.set))


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", text).strip("_")
