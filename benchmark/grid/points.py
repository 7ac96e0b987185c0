"""Points of a grid: one value on every axis, and what it resolves to: block numbers, weights, a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.grid.fitting import policy_mistake
from benchmark.grid.values import OWN
from methods.api import Method
from methods.lookup import shortened
from methods.placement import PUBLISHED, place_exits
from methods.tasks import TASKS
from results.spec import Configured, Recipes, ReplacementBackbone, RunSpec, TrainSpec, Weights


@dataclass(frozen=True)
class GridPoint:
    """One value on every axis except the seed, as written in the file."""

    backbone: Configured
    dataset: Configured
    method: Configured
    exits: Configured | tuple[int, ...]

    def matches(self, rule: dict[str, Any], seed: int) -> bool:
        """Whether a partial combination of the file covers this point with this seed.

        A rule that names a backbone without options covers it with any weights.
        """
        values = {**vars(self), "seed": seed}
        backbone = rule.get("backbone")
        if backbone is not None and backbone.name == self.backbone.name and not backbone.set:
            values["backbone"] = backbone
        return all(values[axis] == value for axis, value in rule.items())


@dataclass(frozen=True)
class ResolvedPoint:
    """A grid point whose names have been looked up.

    Attributes:
        blocks: 1-based block numbers of the exits.
        tokens_leave: whether tokens leave there, not images.
        scheme: how the grid names the exits; a label.
        weights: initial weights of the backbone.
        replacement: the backbone with which the method replaces it, if any.
        trained: the recipes that train the exits; a grid's learning rates scale these.
        own_policy: the exit policy of the method's paper.
    """

    point: GridPoint
    blocks: tuple[int, ...]
    tokens_leave: bool
    scheme: str
    weights: Weights
    replacement: ReplacementBackbone | None
    trained: frozenset[str]
    own_policy: Configured

    def run(
        self, recipes: Recipes, seed: int, policies: tuple[Configured, ...], learning_rates: tuple[float, ...]
    ) -> RunSpec:
        """The run of this point with a seed."""
        train = TrainSpec(
            dataset=self.point.dataset,
            backbone=self.point.backbone.name,
            weights=self.weights,
            replacement=self.replacement,
            method=self.point.method,
            exits=() if self.tokens_leave else self.blocks,
            token_exits=self.blocks if self.tokens_leave else (),
            recipes=recipes,
            seed=seed,
        )
        chosen = (self.own_policy if policy.name == OWN else policy for policy in policies)
        return RunSpec(
            train=train,
            scheme=self.scheme,
            policies=tuple({policy.label: policy for policy in chosen}.values()),
            # Also where the exits have nothing to train, so that the run is compared with those whose rates were chosen.
            learning_rates=learning_rates if self.blocks else (),
        )


def policies_of(
    dataset: Configured, policies: tuple[Configured, ...], by_default: bool, datasets: Collection[str]
) -> tuple[Configured, ...]:
    """The policies of a grid for one of its datasets.

    Where the grid names none, and the task has a policy of its own, that one. Those that fit only the task of another dataset
    of the grid are left out; if none is left, all stay, so that they are refused.

    Args:
        dataset: of a point.
        policies: of the grid.
        by_default: whether the grid names none.
        datasets: names of all datasets of the grid.
    """
    if by_default and TASKS[registry.card("dataset", dataset.name).task].own_policy:
        return (Configured(name=OWN),)

    def fits(policy: Configured, name: str) -> bool:
        return policy.name == OWN or policy_mistake(policy, registry.card("dataset", name).task, name) is None

    chosen = tuple(
        policy
        for policy in policies
        if fits(policy, dataset.name) or not any(fits(policy, other) for other in datasets)
    )
    return chosen or policies


def exit_blocks(point: GridPoint, method: Method) -> tuple[int, ...]:
    """The block numbers of a point's exits.

    Raises:
        ValueError: the scheme does not fit the backbone, or a block has no early exit.
    """
    card = registry.card("backbone", point.backbone.name)
    if isinstance(point.exits, Configured):
        if point.exits.name == PUBLISHED:
            return method.published_exits(card)
        return place_exits(point.exits.name, card.depth, point.exits.set.get("count"))
    for block in point.exits:
        if not 1 <= block < card.depth:
            raise ValueError(
                f"block {shortened(block)} cannot be an early exit of {point.backbone.name}: it has {card.depth} blocks, exits "
                f"are 1 to {card.depth - 1}"
            )
    return point.exits
