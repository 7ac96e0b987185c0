"""Whether the method, the backbone and the policies of a run fit the task of its dataset."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmark import registry
from methods.api import CLASSIFICATION, BackboneCard, Component, Method
from methods.lookup import listed
from methods.tasks import TASKS
from results.spec import Configured


def check_task(task: str, backbone: BackboneCard, method: Method, heads: Sequence[Component]) -> None:
    """Check that a method on a backbone has a form for a task.

    Raises:
        ValueError: a head or the token reduction has none, or the backbone changes the patches that answers are for.
    """
    for head in heads:
        if task not in registry.card("head", head.name).tasks:
            fitting = [name for name, card in registry.table("head").items() if task in card.tasks]
            raise ValueError(f"the head {head.name} has no form for {task}; heads that have one: {listed(fitting)}")
    if TASKS[task].labels_patches:
        for head in heads:
            for option in registry.card("head", head.name).options_on_class_tokens:
                if head.options.get(option):
                    raise ValueError(
                        f"the head {head.name} reads patches in {task}, and its option {option} class tokens"
                    )
        if len(backbone.stages) > 1:
            raise ValueError(
                f"{task} answers for every patch, and the patch grid of this backbone changes between its blocks"
            )
    reduction = method.token_reduction(backbone)
    if reduction is not None and task not in registry.card("reduction", reduction.name).tasks:
        fitting = [name for name, card in registry.table("reduction").items() if task in card.tasks]
        raise ValueError(
            f"the token reduction {reduction.name} has no form for {task}; those that have one: {listed(fitting)}"
        )


def policy_mistake(policy: Configured, task: str, dataset: str) -> str | None:
    """Why a policy does not fit a task; None if it does. The dataset of this name, which messages show, need not be here."""
    if task in registry.card("policy", policy.name).tasks:
        return None
    fitting = [name for name, card in registry.table("policy").items() if task in card.tasks]
    return f"{policy.name} does not read what {task} gives ({dataset}); policies that do: {listed(fitting)}"


def probes_mistake(datasets: Collection[str]) -> str | None:
    """Why no linear probes can be made on the datasets of a grid; None if they can on one of them."""
    tasks = {name: registry.card("dataset", name).task for name in sorted(datasets)}
    if CLASSIFICATION in tasks.values():
        return None
    return f"probes need one class for an image, and the grid has none of classification ({', '.join(tasks)})"
