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

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.stages.keys import KeyForm, Texts, stage_key
from benchmark.stages.stage import RunStages, Stage, StageForm
from datasets.api import DatasetCard
from datasets.split_rules import SplitRule
from methods.api import BackboneCard, Choice, Method
from results.spec import Recipe, RunSpec, Selection, TrainSpec


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


TRAINING = ("benchmark/training/loop.py", "benchmark/training/optimizer.py", "benchmark/training/backbone.py", "benchmark/training/heads.py")
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
            "benchmark/training/finetune.py",
            "benchmark/training/inputs.py",
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
    "joint": StageCode(1, (*TRAINING, *WITH_HEADS, "benchmark/training/joint.py")),
    "exits": StageCode(2, (*TRAINING, *WITH_HEADS, "benchmark/training/exits.py")),
    "scores": StageCode(1, ("benchmark/evaluation/scores.py", "methods/model.py")),
    "cost": StageCode(2, ("benchmark/measure/cost.py", "benchmark/measure/price.py", "methods/model.py")),
    "imported": StageCode(1, ("benchmark/importing/model.py", "methods/official.py", "methods/official_names.py")),
    "evaluate": StageCode(
        2,
        (
            "benchmark/evaluation/evaluate.py",
            "benchmark/evaluation/tables.py",
            "benchmark/evaluation/sweep.py",
            "methods/policies/policy.py",
            "results/stats/curves.py",
            "results/stats/hull.py",
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
STATIC = Selection(name="static")
TRAINED = ("finetune", "joint", "exits")


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
    return next(stages_of([run]))


def stages_of(runs: Iterable[RunSpec]) -> Iterator[RunStages]:
    """The stages of many runs: one object a stage, and what runs share is worked out once where they share the very objects."""
    families: dict[tuple[Hashable, ...], _Family] = {}
    made = _Made()
    for run in runs:
        train = run.train
        parts = (train.dataset, train.weights, train.method, train.recipes, *run.policies)
        shared = (*map(id, parts), train.backbone, train.exits, run.scheme, train.instead, run.learning_rates)
        family = families.get(shared)
        if family is None:  # it holds the run, so that no id is given to something else
            family = families[shared] = _Family(run, made)
        yield family.stages(run)


class _Made:
    """What is there already, one object each: parts of fields, forms, stages."""

    def __init__(self) -> None:
        self.parts: dict[tuple[Hashable, ...], Any] = {}
        self.forms: dict[str, StageForm] = {}
        self.stages: dict[str, Stage] = {}
        self.references: dict[tuple[StageForm, StageForm], dict[int, tuple[Stage, Stage]]] = {}
        self.texts = Texts()

    def once(self, *name: Hashable, make: Callable[[], Any]) -> Any:
        if name not in self.parts:
            self.parts[name] = make()
        return self.parts[name]

    def form(self, kind: str, fields: dict[str, Any], *, seeded: bool = False, **others: Any) -> StageForm:
        fields = {"code_version": STAGES[kind].version, **fields}
        keys = KeyForm(kind, fields, seeded=seeded, texts=self.texts)
        text = f"{keys.text} {others['blocks']}"
        if text not in self.forms:
            self.forms[text] = StageForm(kind=kind, own_fields=fields, seeded=seeded, keys=keys, **others)
        return self.forms[text]

    def stage(self, form: StageForm, run: RunSpec, parents: tuple[Stage, ...], named: str) -> Stage:
        """
        Args:
            form: of the stage.
            run: that needs it.
            parents: in order.
            named: their kinds and keys, as `KeyForm.key` wants them.
        """
        key = form.keys.key(named, run.train.seed)
        stage = self.stages.get(key)
        if stage is None:
            stage = self.stages[key] = Stage(form, parents, run, key)
        return stage


class _Family:
    """Runs that differ in their seed alone."""

    def __init__(self, run: RunSpec, made: _Made) -> None:
        self.run, self.made = run, made
        train = run.train
        card: BackboneCard = registry.card("backbone", train.backbone)
        dataset = registry.card("dataset", train.dataset.name)
        method = method_of(train)
        recipes, blocks = train.recipes, method.blocks(card)
        rule = SplitRule.of(train.dataset.set)
        model = id(train.method), train.backbone, train.exits
        data = made.once("data", id(train.dataset), make=lambda: _data(train.dataset, dataset, rule))
        seen = made.once("train data", id(train.dataset), make=lambda: _train_only(data) | rule.train_fields())
        weights = None if train.weights.source == "scratch" else train.weights.sha256 or train.weights.source
        heads = made.once("heads", *model, make=lambda: [_choice("head", head) for head in heads_of(train)])
        placed = {"exits": made.once("exits", *model, make=lambda: list(train.exits)), "heads": heads}

        def recipe_fields(recipe: Recipe) -> dict[str, Any]:
            return {"recipe": made.once("recipe", recipe, make=lambda: recipe.model_dump(mode="json"))}

        def network(blocks: int) -> dict[str, Any]:
            told = {"name": train.backbone, "code_version": card.code_version, "num_classes": len(dataset.classes)}
            name = "backbone", train.backbone, id(train.dataset), blocks
            return {"backbone": made.once(*name, make=lambda: told | {"blocks": blocks})}

        def finetune(recipe: Recipe, blocks: int) -> StageForm:
            def form() -> StageForm:
                fields = network(blocks) | recipe_fields(recipe) | {"dataset": seen, "weights": weights}
                return made.form("finetune", fields, seeded=True, recipe=recipe, blocks=blocks)

            return made.once("finetune", id(train.dataset), train.backbone, train.weights, recipe, blocks, make=form)

        def scores(blocks: int) -> StageForm:
            return made.once(
                "scores", id(train.dataset), blocks, make=lambda: made.form("scores", {"dataset": data}, blocks=blocks)
            )

        self.reference = finetune(recipes.finetune, card.depth)
        self.instead = None if train.instead is None else _Family(_in_its_place(run), made)
        later = method.stages(card)
        self.training: list[StageForm] = []
        if self.instead is not None:
            self.training.append(self.instead.reference)
        elif later:
            if method.starts_finetuned:
                self.training.append(self.reference)
        else:
            spent = recipes.exits.epochs if method.first_stage_takes_all() else 0
            self.training.append(finetune(_longer(recipes.finetune, spent), blocks))
        for i, stage in enumerate(later):
            recipe = getattr(recipes, stage.recipe)
            fields = placed | {"loss": made.once("loss", *model, i, make=lambda: _choice("loss", stage.loss))}  # noqa: B023
            if stage.trains == "heads":
                fields |= {"frozen_mode": stage.frozen_mode}
                kind = "exits"
            else:
                if stage.recipe == "joint" and i == len(later) - 1 and method.first_stage_takes_all():
                    recipe = _longer(recipe, recipes.exits.epochs)
                if not self.training:
                    fields |= network(blocks) | {"dataset": seen, "weights": weights}
                kind = "joint"
            fields |= recipe_fields(recipe)
            self.training.append(made.form(kind, fields, seeded=True, recipe=recipe, training=stage, blocks=blocks))
        self.static_scores, self.scores = scores(card.depth), scores(blocks)
        priced = network(blocks) | placed
        if self.instead is not None:
            priced["backbone"] = priced["backbone"] | {"instead": self.instead.cost.key}
        cost = made.form("cost", priced, blocks=blocks)
        chosen = run.policies if heads else ()
        policies = made.once("policies", *map(id, chosen), make=lambda: [_policy(policy) for policy in chosen])
        self.cost: Stage = made.stage(cost, run, (), "")
        tried = {"learning_rates": list(run.learning_rates)} if run.learning_rates else {}
        self.evaluate = made.form("evaluate", {"policies": policies} | tried, blocks=blocks)
        parts = (train.method.label, train.backbone, f"{dataset.name} {rule.label}", run.scheme)
        self.named = "-".join(map(_slug, parts))
        self.references = made.references.setdefault((self.reference, self.static_scores), {})

    def stages(self, run: RunSpec) -> RunStages:
        """The stages of one of the runs."""
        make, seed = self.made.stage, run.train.seed
        if seed not in self.references:
            reference = make(self.reference, run, (), "")
            scores = make(self.static_scores, run, (reference,), f'"0:finetune": "{reference.key}"')
            self.references[seed] = reference, scores
        reference, static_scores = self.references[seed]
        training: list[Stage] = []
        last = None
        inside = None if self.instead is None else self.instead.stages(_in_its_place(run))
        for form in self.training:
            if form is self.reference:
                last = reference
            elif inside is not None:
                last = inside.reference
            elif last is None:
                last = make(form, run, (), "")
            else:
                last = make(form, run, (last,), f'"0:{last.form.kind}": "{last.key}"')
            training.append(last)
        assert last is not None
        cost = self.cost
        if last is reference:
            scores = static_scores
            named = f'"0:scores": "{scores.key}", "1:cost": "{cost.key}"'
        else:
            named = f'"0:{last.form.kind}": "{last.key}"'
            scores = make(self.scores, run, (last,), named) if inside is None else inside.static_scores
            named = f'"0:scores": "{scores.key}", "1:scores": "{static_scores.key}", "2:cost": "{cost.key}"'
        key = self.evaluate.keys.key(named, seed)
        run_id = f"{self.named}-s{seed}-{key[:8]}"
        return RunStages(run, run_id, reference, tuple(training), scores, static_scores, cost, self.evaluate, key)


def _in_its_place(run: RunSpec) -> RunSpec:
    """That other backbone without exits: its own ``static``."""
    instead = run.train.instead
    assert instead is not None
    static = {"backbone": instead.backbone, "weights": instead.weights, "instead": None, "method": STATIC}
    return run.model_copy(update={"train": run.train.model_copy(update=static)})


def _longer(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(update={"epochs": recipe.epochs + epochs})


def latency_stage(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and complete fields of a measurement of time, keyed by run, operating point and device; no run waits for it."""
    complete = {"code_version": STAGES["latency"].version, **fields}
    return f"latency-{stage_key('latency', complete)}", complete


def _data(chosen: Selection, dataset: DatasetCard, rule: SplitRule) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "sizes": {split: chosen.set.get(split, size) for split, size in rule.sizes(dataset).items()},
        "fingerprint": dataset.fingerprint,
        "code_version": dataset.code_version,
        **rule.fields(),
    }


def _train_only(data: dict[str, Any]) -> dict[str, Any]:
    """Training reads the train split alone: a change of the others must not retrain."""
    return data | {"sizes": {"train": data["sizes"]["train"]}}


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
