"""One value on every axis of a grid, and what that means: which blocks the exits are, which weights, which run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.grid.values import OWN
from benchmark.weights import SCRATCH
from methods.api import Method
from methods.placement import PUBLISHED, place_exits
from results.spec import Instead, Recipes, RunSpec, Selection, TrainSpec, Weights


@dataclass(slots=True)
class Combination:
    """One value on every axis, as it stands in the file: looked up when it becomes a run."""

    backbone: Selection
    dataset: Selection
    method: Selection
    exits: Selection | tuple[int, ...]
    seed: int


class Placed:
    """A combination of everything but the seed, resolved.

    Attributes:
        text: the same for combinations that mean the same model on the same data.
        trained: the recipes by which exits are trained.
    """

    def __init__(
        self, combination: Combination, blocks: tuple[int, ...], scheme: str, weights: Weights, instead: Instead | None
    ) -> None:
        self.blocks, self.scheme, self.weights, self.instead = blocks, scheme, weights, instead
        method: Method = registry.configured("method", combination.method.name, combination.method.set)
        stages = method.stages(registry.card("backbone", combination.backbone.name))
        self.trained = frozenset(stage.recipe for stage in stages)
        own = method.policy()
        self._own = Selection(name=own.name, set=dict(own.options))
        self._runs: dict[tuple[int, int], tuple[Recipes, tuple[Selection, ...], RunSpec]] = {}
        meant = [weights, combination.dataset, combination.method]
        self.text = "\n".join([combination.backbone.name, str(blocks), *(part.model_dump_json() for part in meant)])

    def run(
        self,
        combination: Combination,
        recipes: Recipes,
        policies: tuple[Selection, ...],
        learning_rates: tuple[float, ...],
    ) -> RunSpec:
        """The run of a combination; where recipes and policies are the same objects, that of the first seed with another."""
        same = id(recipes), id(policies)
        if same not in self._runs:
            train = TrainSpec(
                dataset=combination.dataset,
                backbone=combination.backbone.name,
                weights=self.weights,
                instead=self.instead,
                method=combination.method,
                exits=self.blocks,
                recipes=recipes,
                seed=combination.seed,
            )
            run = RunSpec(
                train=train,
                scheme=self.scheme,
                policies=self.policies(policies),
                learning_rates=learning_rates if self.trained else (),
            )
            self._runs[same] = recipes, policies, run  # with both, so that no id is given to something else
        return self._runs[same][-1].with_seed(combination.seed)

    def policies(self, policies: tuple[Selection, ...]) -> tuple[Selection, ...]:
        """With the method's own rule in the place of ``own``."""
        chosen = (self._own if policy.name == OWN else policy for policy in policies)
        return tuple({policy.label: policy for policy in chosen}.values())


def resolve(combination: Combination) -> tuple[int, ...]:
    """The block numbers of a combination's exits."""
    card = registry.card("backbone", combination.backbone.name)
    if isinstance(combination.exits, Selection):
        if combination.exits.name == PUBLISHED:
            method: Method = registry.configured("method", combination.method.name, combination.method.set)
            return method.published_exits(card)
        return place_exits(combination.exits.name, card.depth, combination.exits.set.get("count"))
    for block in combination.exits:
        if not 1 <= block < card.depth:
            raise ValueError(
                f"block {block} is no early exit of {combination.backbone.name}: it has {card.depth} blocks, exits are 1 to "
                f"{card.depth - 1}"
            )
    return combination.exits


def weights_source(backbone: Selection) -> str:
    """What the grid says that a backbone starts from, or its card."""
    tag = registry.card("backbone", backbone.name).weights
    return str(backbone.set.get("weights", f"timm:{tag}" if tag else SCRATCH))


def matches(combination: Combination, rule: dict[str, Any]) -> bool:
    """Whether a partial combination covers a whole one; a backbone's name alone covers it with any weights."""
    for axis, value in rule.items():
        own = getattr(combination, axis)
        if own != value and not (axis == "backbone" and own.name == value.name and not value.set):
            return False
    return True
