"""The nodes of the stage graph: what a stage is, and the chain of a run's stages. `benchmark.stages.graph` makes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.stages.keys import PARENTS, SEED, KeyForm
from methods.api import TrainStage
from results.spec import Recipe, RunSpec

STEP_FIELDS = {"lr", "weight_decay", "warmup", "schedule", "label_smoothing", "clip_grad"}
"""Of a recipe: what only the optimizer's step and the loss read; the other fields make the batches."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StageForm:
    """What stages of runs that differ in their seed alone have in common.

    Attributes:
        kind: a key of `benchmark.stages.graph.STAGES`.
        own_fields: what the key is made of beside the parents' keys and the seed; the code version included.
        seeded: whether the seed is part of the key.
        recipe: of a stage that trains.
        training: what the method said of it, for ``joint`` and ``exits``.
        blocks: how many of the backbone's blocks are there.
        keys: of the fields.
    """

    kind: str
    own_fields: dict[str, Any]
    seeded: bool = False
    recipe: Recipe | None = None
    training: TrainStage | None = None
    blocks: int
    keys: KeyForm

    @cached_property
    def batches(self) -> str:
        """Of a stage that trains: the same for those that see the same batches, given the same seed."""
        assert self.recipe is not None
        return json.dumps(self.recipe.model_dump(mode="json", exclude=STEP_FIELDS), sort_keys=True)


@dataclass(eq=False, slots=True)  # not frozen: to be made three times as fast
class Stage:
    """A node of the graph.

    Attributes:
        form: what it shares with the same stage of other seeds.
        parents: what must be there first.
        run: a run that needs it; any one, as they agree on all that the stage reads.
        key: 16 hex digits, of this stage alone.
    """

    form: StageForm
    parents: tuple[Stage, ...]
    run: RunSpec
    key: str

    @property
    def name(self) -> str:
        """``kind-key``."""
        return f"{self.form.kind}-{self.key}"

    @property
    def kind(self) -> str:
        return self.form.kind

    @property
    def recipe(self) -> Recipe | None:
        return self.form.recipe

    @property
    def training(self) -> TrainStage | None:
        return self.form.training

    @property
    def blocks(self) -> int:
        return self.form.blocks

    @property
    def fields(self) -> dict[str, Any]:
        """What the key was made of, parents' keys and code version included."""
        parents = {PARENTS: {f"{i}:{parent.kind}": parent.key for i, parent in enumerate(self.parents)}}
        return self.form.own_fields | parents | ({SEED: self.run.train.seed} if self.form.seeded else {})

    @property
    def shared_pass(self) -> tuple[str, str, str, int] | None:
        """Stages with the same value are trained in one pass: heads on the same frozen backbone that see the same batches."""
        if self.form.kind != "exits":
            return None
        return self.parents[0].key, self.form.batches, self.form.own_fields["frozen_mode"], self.run.train.seed

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


@dataclass(eq=False, slots=True)
class RunStages:
    """The stages of one run, parents before children; the last one is ``evaluate``.

    Attributes:
        reference: the whole backbone without exits, fine-tuned.
        training: the run's own training, in order; the reference alone for ``static``.
        evaluation: the form of its last stage, and `key` that stage's.
    """

    spec: RunSpec
    run_id: str
    reference: Stage
    training: tuple[Stage, ...]
    scores: Stage
    static_scores: Stage
    cost: Stage
    evaluation: StageForm
    key: str

    @property
    def evaluate(self) -> Stage:
        """The stage that is the record; made when asked for, as plans of very many runs never do."""
        parents = tuple(dict.fromkeys((self.scores, self.static_scores, self.cost)))
        return Stage(self.evaluation, parents, self.spec, self.key)

    @property
    def chain(self) -> tuple[Stage, ...]:
        """Every stage that leaves an artifact, in an order that can be executed.

        The cost comes first: it takes a second, and a model that cannot be priced should not be trained.
        """
        return tuple(dict.fromkeys((self.cost, self.reference, *self.training, self.static_scores, self.scores)))
