"""The stage graph, which ARCHITECTURE.md draws: the stages of a run, and the fields of the run that each of them reads.

The training stages of a method follow the fine-tuning or replace it: `exits` trains heads on the frozen backbone of the stage
before, `joint` trains backbone and heads together. Runs whose stages have the same key share the artifact. No torch here.
"""

from __future__ import annotations

import re
from typing import Any

from benchmark import registry
from benchmark.stages.keys import code_versions, stage_key
from benchmark.stages.stage import RunStages, Stage
from datasets.shift import Corruption
from datasets.split_rules import SplitRule
from methods.api import CLASSIFICATION, Component, Method
from methods.tasks import TASKS
from results.spec import Configured, Recipe, RunSpec, TrainSpec

STATIC = Configured(name="static")


def method_of(train: TrainSpec) -> Method:
    """The method with its options."""
    return registry.configured("method", train.method.name, train.method.set)


def own_policy(method: Method, dataset: Configured) -> Configured:
    """The exit policy of the method's own paper, or the one that stands for it in the task of the dataset."""
    instead = TASKS[registry.card("dataset", dataset.name).task].own_policy
    own = Component(instead) if instead else method.policy()
    return Configured(name=own.name, set=dict(own.options))


def heads_of(train: TrainSpec) -> tuple[Component, ...]:
    """The head of every exit."""
    return method_of(train).heads(train.head_blocks, registry.card("backbone", train.backbone))


def run_stages(run: RunSpec) -> RunStages:
    """The stages of a run."""
    train = run.train
    backbone = registry.card("backbone", train.backbone)
    method = method_of(train)
    blocks = method.blocks(backbone)

    reduction = method.token_reduction(backbone)
    reference = _finetune(run, train.recipes.finetune, backbone.depth)
    training = _training(run, method, blocks, reference)
    static_scores = _scores(reference)
    scores = _scores(training[-1], reduction)
    # Where tokens leave, the cost is that of all tokens; the numbers of tokens of the test images are in the scores.
    cost = _cost(run, blocks, None if method.tokens_leave else reduction)
    policies = run.policies if train.exits else ()
    reads: dict[str, Any] = {"policies": [_versioned("policy", policy.name, policy.set) for policy in policies]}
    if run.learning_rates:
        reads["learning_rates"] = list(run.learning_rates)
    parents = tuple(dict.fromkeys((scores, static_scores, cost)))
    evaluate = Stage(kind="evaluate", reads=reads, parents=parents, run=run, blocks=blocks)
    run_id = f"{_run_name(run)}-s{train.seed}-{evaluate.key[:8]}"
    return RunStages(run, run_id, reference, training, scores, static_scores, cost, evaluate)


def _finetune(run: RunSpec, recipe: Recipe, blocks: int, reduction: Component | None = None) -> Stage:
    """Stage 1: the backbone's first blocks and the final classifier."""
    train = run.train
    reads = _initial_model(train, blocks) | {"recipe": _dumped(recipe), "seed": train.seed} | _reduced(reduction)
    return Stage(kind="finetune", reads=reads, run=run, blocks=blocks, recipe=recipe, reduction=reduction)


def _training(run: RunSpec, method: Method, blocks: int, reference: Stage) -> tuple[Stage, ...]:
    """The stages that train the run's own model, in order."""
    train, recipes = run.train, run.train.recipes
    if train.replacement is not None:
        return (run_stages(_on_replacement(run)).reference,)
    card = registry.card("backbone", train.backbone)
    later = method.stages(card)
    reduction = method.token_reduction(card) if method.trains_reduced() else None
    if not later:
        extra = recipes.exits.epochs if method.adds_second_stage_epochs() else 0
        return (_finetune(run, _longer(recipes.finetune, extra), blocks, reduction),)
    stages = [reference] if method.starts_finetuned else []
    for position, stage in enumerate(later, start=1):
        recipe = getattr(recipes, stage.recipe)
        loss = _versioned("loss", stage.loss.name, stage.loss.options)
        reads = _exits(train) | {"loss": loss, "seed": train.seed} | _reduced(reduction)
        if stage.trains == "heads":
            kind = "exits"
            reads |= {"frozen_mode": stage.frozen_mode}
        else:
            kind = "joint"
            if stage.gradients != "sum":
                reads |= {"gradients": stage.gradients}
            if method.starts_finetuned:
                recipe = recipe.model_copy(update={"epochs": recipes.exits.epochs})
            elif position == len(later) and method.adds_second_stage_epochs():
                recipe = _longer(recipe, recipes.exits.epochs)
            if not stages:
                reads |= _initial_model(train, blocks)
        reads |= {"recipe": _dumped(recipe)}
        parents = tuple(stages[-1:])
        stages.append(
            Stage(
                kind=kind, reads=reads, parents=parents, run=run, blocks=blocks, recipe=recipe, training=stage,
                reduction=reduction,
            )
        )  # fmt: skip
    return tuple(stages)


def _scores(trained: Stage, reduction: Component | None = None) -> Stage:
    """The logits of a trained model on val and test."""
    corruption = Corruption.of(trained.run.train.dataset.set)
    reads = {"dataset": _dataset(trained.run.train) | ({} if corruption is None else corruption.fields())}
    reads |= _reduced(reduction)
    return Stage(
        kind="scores", reads=reads, parents=(trained,), run=trained.run, blocks=trained.blocks, reduction=reduction
    )


def _cost(run: RunSpec, blocks: int, reduction: Component | None) -> Stage:
    """The MACs of the model. A replacement backbone has costs of its own."""
    reads = {"backbone": _backbone(run.train, blocks)} | _exits(run.train) | _reduced(reduction)
    if run.train.replacement is not None:
        reads["backbone"]["replacement"] = run_stages(_on_replacement(run)).cost.key
    return Stage(kind="cost", reads=reads, run=run, blocks=blocks)


def measurement_name(fields: dict[str, Any], kind: str = "latency") -> tuple[str, dict[str, Any]]:
    """Name and complete fields of a measurement such as ``latency`` or ``probes``, keyed by what it reads.

    No run waits for it.
    """
    complete = {"code": code_versions(kind), **fields}
    return f"{kind}-{stage_key(kind, complete)}", complete


# The fields that stages read


def _initial_model(train: TrainSpec, blocks: int) -> dict[str, Any]:
    """What a training from the backbone's initial weights reads."""
    weights = None if train.weights.source == "scratch" else train.weights.sha256 or train.weights.source
    reads = {"backbone": _backbone(train, blocks), "dataset": _train_split(train), "weights": weights}
    if train.weights.mean is None:  # the dataset's own normalisation, which its version covers
        return reads
    return reads | {"normalisation": train.weights.model_dump(mode="json", include={"mean", "std"})}


def _backbone(train: TrainSpec, blocks: int) -> dict[str, Any]:
    version = registry.code_version("backbone", train.backbone)
    classes = len(registry.card("dataset", train.dataset.name).classes)
    model = {"name": train.backbone, "code_version": version, "num_classes": classes, "blocks": blocks}
    return model | _task(train)


def _task(train: TrainSpec) -> dict[str, Any]:
    """The task, whose code computes losses and scores. All stages of a run follow one that reads the backbone, and so it."""
    name = registry.card("dataset", train.dataset.name).task
    version = registry.code_version("task", name)
    # The first version of classification has no field, because it computes what keys without it name.
    return {} if (name, version) == (CLASSIFICATION, 1) else {"task": {"name": name, "code_version": version}}


def _exits(train: TrainSpec) -> dict[str, Any]:
    heads = [_versioned("head", head.name, head.options) for head in heads_of(train)]
    return {"exits": list(train.head_blocks), "heads": heads}


def _reduced(reduction: Component | None) -> dict[str, Any]:
    """The token reduction, if there is one."""
    return {} if reduction is None else {"reduction": _versioned("reduction", reduction.name, reduction.options)}


def _dataset(train: TrainSpec) -> dict[str, Any]:
    card, rule = registry.card("dataset", train.dataset.name), SplitRule.of(train.dataset.set)
    sizes = {split: train.dataset.set.get(split, size) for split, size in rule.sizes(card).items()}
    version = {"code_version": registry.code_version("dataset", train.dataset.name)}
    return {"name": card.name, "sizes": sizes, "fingerprint": card.fingerprint} | version | rule.fields()


def _train_split(train: TrainSpec) -> dict[str, Any]:
    """Training reads the train split only: a change of the other splits must not retrain."""
    data = _dataset(train)
    return data | {"sizes": {"train": data["sizes"]["train"]}} | SplitRule.of(train.dataset.set).train_fields()


def _versioned(kind: str, name: str, options: Any) -> dict[str, Any]:
    """A registered name with its options and the version of its code."""
    return {"name": name, "options": dict(options), "code_version": registry.code_version(kind, name)}


def _dumped(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _longer(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(update={"epochs": recipe.epochs + epochs})


def _on_replacement(run: RunSpec) -> RunSpec:
    """The run of ``static`` on the backbone that the method compares with."""
    assert run.train.replacement is not None
    backbone, weights = run.train.replacement.backbone, run.train.replacement.weights
    train = run.train.model_copy(
        update={"backbone": backbone, "weights": weights, "replacement": None, "method": STATIC, "exits": ()}
    )
    return run.model_copy(update={"train": train})


def _run_name(run: RunSpec) -> str:
    """The part of a run id that people read."""
    train = run.train
    corruption = Corruption.of(train.dataset.set)
    dataset = [registry.card("dataset", train.dataset.name).name, SplitRule.of(train.dataset.set).label]
    dataset += [] if corruption is None else [corruption.label]
    parts = (train.method.label, train.backbone, " ".join(dataset), run.scheme)
    return "-".join(re.sub(r"[^A-Za-z0-9_.=-]+", "_", part).strip("_") for part in parts)
