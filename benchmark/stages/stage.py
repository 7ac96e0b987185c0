"""A stage of a run, and the chain of a run's stages. `benchmark.stages.graph` makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.stages.keys import code_versions, stage_key
from methods.api import Component, TrainStage
from results.spec import Recipe, RunSpec

STEP_FIELDS = {"lr", "weight_decay", "warmup", "schedule", "label_smoothing", "clip_grad"}
"""Fields of a recipe that only the loss and the optimizer's step read; the others determine the batches."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """A node of the stage graph. Two stages with the same key are equal.

    Attributes:
        kind: a key of `benchmark.stages.keys.USES`.
        reads: the fields of the run that the stage reads.
        parents: the stages whose artifacts it reads.
        run: a run that needs the stage; any one, as all of them agree on `reads`.
        blocks: number of the backbone's blocks in the model.
        recipe: of a stage that trains.
        training: the method's description of the stage, for ``joint`` and ``exits``.
        reduction: the token reduction of the model that the stage trains or scores.
    """

    kind: str
    reads: Mapping[str, Any]
    parents: tuple[Stage, ...] = ()
    run: RunSpec
    blocks: int
    recipe: Recipe | None = None
    training: TrainStage | None = None
    reduction: Component | None = None

    @cached_property
    def fields(self) -> dict[str, Any]:
        """All inputs of the key, except for the kind."""
        parents = {f"{i}:{parent.kind}": parent.key for i, parent in enumerate(self.parents)}
        return {**self.reads, "code": code_versions(self.kind), "parents": parents}

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        return stage_key(self.kind, self.fields)

    @property
    def name(self) -> str:
        """``kind-key``."""
        return f"{self.kind}-{self.key}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def shared_pass(self) -> tuple[str, str, str, str, int] | None:
        """Stages with the same value are trained in one pass: heads on the same frozen backbone that see the same batches."""
        if self.kind != "exits" or self.recipe is None:
            return None
        batches = json.dumps(self.recipe.model_dump(mode="json", exclude=STEP_FIELDS), sort_keys=True)
        reduction = json.dumps(self.reads.get("reduction"), sort_keys=True)
        return self.parents[0].key, batches, self.reads["frozen_mode"], reduction, self.run.train.seed

    @property
    def backbone(self) -> Stage:
        """The stage that holds the backbone's weights: this one, or the nearest one before it."""
        return self if self.kind in ("finetune", "joint") else self.parents[0].backbone

    @property
    def heads(self) -> Stage | None:
        """The stage that holds the heads' weights, likewise; None for a backbone without exits."""
        if self.kind in ("joint", "exits"):
            return self
        return self.parents[0].heads if self.parents else None


@dataclass(frozen=True, eq=False)
class RunStages:
    """The stages of one run.

    Attributes:
        reference: the whole backbone without exits, fine-tuned.
        training: the run's own training stages, in order; only `reference` for ``static``.
        scores: of the trained model.
        static_scores: of `reference`; accuracy drops are measured against it.
        cost: MACs of the model.
        evaluate: the last stage, whose artifact is the record.
    """

    spec: RunSpec
    run_id: str
    reference: Stage
    training: tuple[Stage, ...]
    scores: Stage
    static_scores: Stage
    cost: Stage
    evaluate: Stage

    @cached_property
    def chain(self) -> tuple[Stage, ...]:
        """Every stage with an artifact, parents before children.

        The cost comes first: it takes a second, and a model whose MACs cannot be counted should not be trained.
        """
        return tuple(dict.fromkeys((self.cost, self.reference, *self.training, self.static_scores, self.scores)))
