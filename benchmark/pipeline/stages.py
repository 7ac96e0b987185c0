"""The stage graph: a run is a chain of stages, and a stage's key says exactly what it read.

    finetune ---> exits ---> scores ----> evaluate (the record)
       | \\----> joint -------/   /   cost --/
       |  joint -> exits ----/   /
       \\------> scores (static) /

What a method adds behind the fine-tuning, or puts in its place, are its training stages: `exits` trains heads on the frozen
backbone of the stage before, `joint` trains backbone and heads together. A key hashes the fields that the stage reads,
its parents' keys and the code version. Runs that share a key share the artifact. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.spec import Instead, Recipe, RunSpec, Selection, TrainSpec
from datasets.split_rules import SplitRule
from methods.api import BackboneCard, Choice, Method, TrainStage


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


TRAINING = ("benchmark/pipeline/fit.py", "benchmark/pipeline/optimizer.py", "benchmark/pipeline/build.py")
WITH_HEADS = (
    "methods/heads/head.py",
    "methods/losses/terms.py",
    "methods/losses/training_pass.py",
    "methods/model.py",
)
STAGES = {
    "finetune": StageCode(
        2,
        (
            *TRAINING,
            "benchmark/pipeline/finetune.py",
            "benchmark/pipeline/inputs.py",
            "benchmark/seeds.py",
            "datasets/augment.py",
            "datasets/crops.py",
            "datasets/images.py",
            "datasets/loading.py",
            "datasets/split_rules.py",
            "datasets/splits.py",
            "datasets/timm_augment.py",
            "datasets/transforms.py",
            "methods/backbones/backbone.py",
            "methods/backbones/pretrained.py",
            "methods/tokens.py",
        ),
    ),
    "joint": StageCode(1, (*TRAINING, *WITH_HEADS, "benchmark/pipeline/joint.py")),
    "exits": StageCode(2, (*TRAINING, *WITH_HEADS, "benchmark/pipeline/exits.py")),
    "scores": StageCode(1, ("benchmark/pipeline/score.py", "methods/model.py")),
    "cost": StageCode(2, ("benchmark/measure/cost.py", "benchmark/measure/price.py", "methods/model.py")),
    "imported": StageCode(1, ("benchmark/pipeline/imported.py", "methods/official.py", "methods/official_names.py")),
    "evaluate": StageCode(
        2,
        (
            "benchmark/pipeline/evaluate.py",
            "benchmark/pipeline/evaluation_tables.py",
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
STEP_FIELDS = {"lr", "weight_decay", "warmup", "schedule", "label_smoothing", "clip_grad"}
"""Of a recipe: what only the optimizer's step and the loss read; the other fields make the batches."""
TRAINED = ("finetune", "joint", "exits")


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """A node of the graph.

    Attributes:
        kind: a key of `STAGES`.
        key: 16 hex digits.
        fields: what the key was made of, parents' keys and code version included.
        parents: what must be there first.
        run: a run that needs it; any one, as they agree on all that the stage reads.
        recipe: of a stage that trains.
        training: what the method said of it, for ``joint`` and ``exits``.
        blocks: how many of the backbone's blocks are there.
    """

    kind: str
    key: str
    fields: dict[str, Any]
    parents: tuple[Stage, ...]
    run: RunSpec
    recipe: Recipe | None = None
    training: TrainStage | None = None
    blocks: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.key}"

    @property
    def shared_pass(self) -> str | None:
        """Stages with the same value are trained in one pass: heads on the same frozen backbone that see the same batches."""
        if self.kind != "exits" or self.recipe is None:
            return None
        batches = self.recipe.model_dump(mode="json", exclude=STEP_FIELDS)
        return json.dumps(
            [self.parents[0].key, batches, self.fields["seed"], self.fields["frozen_mode"]], sort_keys=True
        )

    @property
    def backbone(self) -> Stage:
        """The stage that holds the backbone's weights: this one, or the nearest before it."""
        return self if self.kind in ("finetune", "joint") else self.parents[0].backbone

    @property
    def heads(self) -> Stage | None:
        """The stage that holds the heads' weights, likewise; None for a backbone without exits."""
        if self.kind in ("joint", "exits"):
            return self
        return self.parents[0].heads if self.parents else None


@dataclass(frozen=True)
class RunStages:
    """The stages of one run, parents before children; the last one is ``evaluate``.

    Attributes:
        reference: the whole backbone without exits, fine-tuned.
        training: the run's own training, in order; the reference alone for ``static``.
    """

    spec: RunSpec
    run_id: str
    reference: Stage
    training: tuple[Stage, ...]
    scores: Stage
    static_scores: Stage
    cost: Stage
    evaluate: Stage

    @property
    def chain(self) -> tuple[Stage, ...]:
        """Every stage that leaves an artifact, in an order that can be executed.

        The cost comes first: it takes a second, and a model that cannot be priced should not be trained.
        """
        return tuple(dict.fromkeys((self.cost, self.reference, *self.training, self.static_scores, self.scores)))


def method_of(train: TrainSpec) -> Method:
    return registry.configured("method", train.method.name, train.method.set)


def own_policy(train: TrainSpec) -> Selection:
    """The rule for leaving of the method's own paper."""
    own = method_of(train).policy()
    return Selection(name=own.name, set=dict(own.options))


def heads_of(train: TrainSpec) -> tuple[Choice, ...]:
    return method_of(train).heads(train.exits, registry.card("backbone", train.backbone))


def run_stages(run: RunSpec) -> RunStages:
    """The stages of a run, with their keys."""
    train = run.train
    card: BackboneCard = registry.card("backbone", train.backbone)
    dataset = registry.card("dataset", train.dataset.name)
    method = method_of(train)
    recipes, blocks = train.recipes, method.blocks(card)
    rule = SplitRule.of(train.dataset.set)
    data = {
        "name": dataset.name,
        "sizes": {split: train.dataset.set.get(split, size) for split, size in rule.sizes(dataset).items()},
        "fingerprint": dataset.fingerprint,
        "code_version": dataset.code_version,
        **rule.fields(),
    }
    network = {"name": train.backbone, "code_version": card.code_version, "num_classes": len(dataset.classes)}
    weights = None if train.weights.source == "scratch" else train.weights.sha256 or train.weights.source
    start = {"dataset": _train_only(data) | rule.train_fields(), "weights": weights, "seed": train.seed}
    placed = {"exits": list(train.exits), "heads": [_choice("head", head) for head in heads_of(train)]}

    def finetune(recipe: Recipe, blocks: int) -> Stage:
        fields = {"backbone": network | {"blocks": blocks}, "recipe": _recipe(recipe), **start}
        return _stage("finetune", fields, (), run, recipe=recipe, blocks=blocks)

    reference = finetune(recipes.finetune, card.depth)
    later = method.stages(card)
    instead = None if train.instead is None else _in_its_place(run, train.instead)
    if instead is not None:
        training = [instead.reference]
    elif later:
        training = [reference] if method.starts_finetuned else []
    else:
        spent = recipes.exits.epochs if method.first_stage_takes_all() else 0
        own = finetune(_longer(recipes.finetune, spent), blocks)
        training = [reference if own.key == reference.key else own]
    for i, stage in enumerate(later):
        recipe = getattr(recipes, stage.recipe)
        fields = placed | {"loss": _choice("loss", stage.loss), "seed": train.seed}
        if stage.trains == "heads":
            fields |= {"recipe": _recipe(recipe), "frozen_mode": stage.frozen_mode}
            kind = "exits"
        else:
            if stage.recipe == "joint" and i == len(later) - 1 and method.first_stage_takes_all():
                recipe = _longer(recipe, recipes.exits.epochs)
            fields |= {"recipe": _recipe(recipe)}
            if not training:
                fields |= start | {"backbone": network | {"blocks": blocks}}
            kind = "joint"
        training.append(_stage(kind, fields, tuple(training[-1:]), run, recipe=recipe, training=stage, blocks=blocks))
    static_scores = _stage("scores", {"dataset": data}, (reference,), run, blocks=card.depth)
    scores = static_scores
    if instead is not None:
        scores = instead.static_scores
    elif training != [reference]:
        scores = _stage("scores", {"dataset": data}, (training[-1],), run, blocks=blocks)
    priced = network | {"blocks": blocks}
    if instead is not None:
        priced |= {"instead": instead.cost.key}
    cost = _stage("cost", {"backbone": priced, **placed}, (), run, blocks=blocks)
    policies = [_policy(policy) for policy in run.policies] if placed["heads"] else []
    parents = tuple(dict.fromkeys((scores, static_scores, cost)))
    tried = {"learning_rates": list(run.learning_rates)} if run.learning_rates else {}
    evaluate = _stage("evaluate", {"policies": policies} | tried, parents, run, blocks=blocks)
    run_id = "-".join(
        _slug(part)
        for part in (
            train.method.label,
            train.backbone,
            f"{dataset.name} {rule.label}",
            run.scheme,
            f"s{train.seed}",
            evaluate.key[:8],
        )
    )
    return RunStages(run, run_id, reference, tuple(training), scores, static_scores, cost, evaluate)


def _in_its_place(run: RunSpec, instead: Instead) -> RunStages:
    """The stages of that other backbone without exits, which are those of its own ``static``."""
    changed = {
        "backbone": instead.backbone,
        "weights": instead.weights,
        "instead": None,
        "method": Selection(name="static"),
    }
    return run_stages(run.model_copy(update={"train": run.train.model_copy(update=changed)}))


def _longer(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(update={"epochs": recipe.epochs + epochs})


def latency_stage(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and complete fields of a measurement of time, keyed by run, operating point and device; no run waits for it."""
    complete = {"code_version": STAGES["latency"].version, **fields}
    return f"latency-{_key('latency', complete)}", complete


def _stage(
    kind: str,
    fields: dict[str, Any],
    parents: tuple[Stage, ...],
    run: RunSpec,
    *,
    blocks: int,
    recipe: Recipe | None = None,
    training: TrainStage | None = None,
) -> Stage:
    complete = {
        "code_version": STAGES[kind].version,
        "parents": {f"{i}:{parent.kind}": parent.key for i, parent in enumerate(parents)},
        **fields,
    }
    return Stage(
        kind=kind,
        key=_key(kind, complete),
        fields=complete,
        parents=parents,
        run=run,
        recipe=recipe,
        training=training,
        blocks=blocks,
    )


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
