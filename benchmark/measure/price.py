"""What a method costs on a backbone, from their names: no data, no weights, no training."""

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
        backbone: registered name.
        method: what is priced.
        exits: 1-based block numbers; not looked at by a method without early exits.
        classes: number of logits.

    Raises:
        ValueError: a head does not fit the backbone, or the backbone has too few blocks.
        UncountedOperatorError: the model runs an operator whose cost nobody stated.
    """
    card = registry.card("backbone", backbone)
    blocks = method.blocks(card)
    chosen = method.heads(exits, card)
    with _Unfilled():
        heads = [
            make_head(choice, block, card, classes)
            for block, choice in zip(exits if chosen else (), chosen, strict=True)
        ]
    replacement = method.replacement_backbone(card)
    own = truncated(card, blocks) if replacement is None else registry.card("backbone", replacement)
    with _Unfilled():
        model = MultiExitModel(own.load()(own.architecture, classes), ExitHeads(exits if chosen else (), heads))
    table = cost_table(model, own)
    if own is card:
        return table
    with _Unfilled():
        whole = cost_table(MultiExitModel(card.load()(card.architecture, classes), ExitHeads((), ())), card)
    same = ("depth", "baseline", "linear_conv_baseline")
    return table.model_copy(update={field: getattr(whole, field) for field in same})


class _Unfilled(TorchFunctionMode):
    """Parameters keep whatever memory they got: drawing 86 million random numbers takes longer than counting."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function in _RANDOM else function(*args, **(kwargs or {}))


_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_)
