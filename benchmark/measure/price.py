"""The cost of a method on a registered backbone, without data, weights or training."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from benchmark import registry
from benchmark.measure.cost import cost_table
from benchmark.training.heads import make_head
from methods.api import Method
from methods.backbones.cards import truncated
from methods.model import ExitHeads, MultiExitModel
from results.record import CostTable


def price(backbone: str, method: Method, exits: tuple[int, ...], classes: int) -> CostTable:
    """The cost table of a method's model.

    Args:
        backbone: registered name of the backbone.
        method: the method.
        exits: 1-based block numbers; ignored by a method without early exits.
        classes: number of logits.

    Raises:
        ValueError: a head does not fit the backbone, or the backbone has too few blocks.
        UncountedOperatorError: the model runs an operator without a MAC count.
    """
    card = registry.card("backbone", backbone)
    blocks = method.blocks(card)
    head_choices = method.heads(exits, card)
    with _UninitialisedParameters():
        heads = [
            make_head(choice, block, card, classes)
            for block, choice in zip(exits if head_choices else (), head_choices, strict=True)
        ]
    replacement = method.replacement_backbone(card)
    model_card = truncated(card, blocks) if replacement is None else registry.card("backbone", replacement)
    with _UninitialisedParameters():
        network = model_card.load()(model_card.architecture, classes)
        model = MultiExitModel(network, ExitHeads(exits if head_choices else (), heads))
    table = cost_table(model, model_card)
    if model_card is card:
        return table
    with _UninitialisedParameters():
        whole = cost_table(MultiExitModel(card.load()(card.architecture, classes), ExitHeads((), ())), card)
    reference = ("depth", "baseline", "linear_conv_baseline")  # speed-ups are relative to the backbone of the grid
    return table.model_copy(update={field: getattr(whole, field) for field in reference})


class _UninitialisedParameters(TorchFunctionMode):
    """A context without the random initialisation of parameters, which takes longer than counting their MACs."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function in _RANDOM else function(*args, **(kwargs or {}))


_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_)
