"""The cost of a method on a registered backbone, without data, weights or training."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmark import registry
from benchmark.measure.cost import Parts, cost_table, counted
from benchmark.training.heads import make_head
from benchmark.training.reduced import reduced
from methods.api import CLASSIFICATION, Method
from methods.backbones.cards import truncated
from methods.model import ExitHeads, MultiExitModel
from methods.tasks import get_task
from results.record import CostTable


def price(backbone: str, method: Method, exits: tuple[int, ...], classes: int, task: str = CLASSIFICATION) -> CostTable:
    """The table of `priced`."""
    return priced(backbone, method, exits, classes, task)[0]


def priced(
    backbone: str, method: Method, exits: tuple[int, ...], classes: int, task: str = CLASSIFICATION
) -> tuple[CostTable, Parts]:
    """The cost table of a method's model, and parts of its MACs.

    Args:
        backbone: registered name of the backbone.
        method: the method.
        exits: 1-based block numbers; ignored by a method that has none, or always the same ones.
        classes: number of logits.
        task: name of the task.

    Raises:
        ValueError: a head does not fit the backbone, or the backbone has too few blocks.
        UncountedOperatorError: the model runs an operator without a MAC count.
    """
    card = registry.card("backbone", backbone)
    blocks = method.blocks(card)
    exits = method.fixed_exits(card) or exits
    head_choices = method.heads(exits, card)
    with _UninitialisedParameters():
        heads = [
            make_head(choice, block, card, classes, get_task(task))
            for block, choice in zip(exits if head_choices else (), head_choices, strict=True)
        ]
    replacement = method.replacement_backbone(card)
    reduction = None if method.tokens_leave else method.token_reduction(card)
    model_card = truncated(card, blocks) if replacement is None else registry.card("backbone", replacement)
    with _UninitialisedParameters():
        network = reduced(get_task(task).backbone(model_card.load(), model_card.architecture, classes), reduction)
        model = MultiExitModel(network, ExitHeads(exits if head_choices else (), heads))
    table, parts = counted(model, model_card)
    if model_card is card and reduction is None:
        return table, parts
    whole = _costs_without_exits(backbone, classes, task)
    reference = ("depth", "baseline", "linear_conv_baseline")  # speed-ups are relative to the backbone of the grid
    update = {field: getattr(whole, field) for field in reference}
    return table.model_copy(update=update | {"reduced_tokens": reduction is not None}), parts


@functools.cache
def _costs_without_exits(backbone: str, classes: int, task: str) -> CostTable:
    card = registry.card("backbone", backbone)
    with _UninitialisedParameters():
        model = MultiExitModel(get_task(task).backbone(card.load(), card.architecture, classes), ExitHeads((), ()))
    return cost_table(model, card)


class _UninitialisedParameters(TorchFunctionMode):
    """A context without the random initialisation of parameters, which takes longer than counting their MACs."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _INITIALISERS:
            return kwargs["tensor"]
        if function is torch.Tensor.normal_:  # torch draws a truncated normal until no value is out of bounds
            return args[0].fill_(args[1] if len(args) > 1 else kwargs.get("mean", 0.0))
        if function in _RANDOM or (function in _SCALING and isinstance(args[0], nn.Parameter)):
            return args[0]
        return function(*args, **kwargs)


_INITIALISERS = (nn.init.kaiming_uniform_, nn.init.uniform_)
"""Torch passes each of these on as one call, with keywords only."""
_RANDOM = (torch.Tensor.uniform_, torch.Tensor.erfinv_)
_SCALING = (torch.Tensor.mul_, torch.Tensor.add_, torch.Tensor.clamp_)
"""They follow the random numbers in an initialisation, and each writes the memory of all weights."""
