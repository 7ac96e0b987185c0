"""Compares the card of a backbone with the model behind it. Used for cards of installed packages, which no test here covers."""

from __future__ import annotations

import torch

from methods.api import BackboneCard
from methods.backbones.backbone import BlockBackbone

TOLERANCE = 1e-4


def card_mistakes(card: BackboneCard, backbone: BlockBackbone) -> list[str]:
    """What the card says otherwise than the model does; empty if they agree. The model is left in evaluation mode."""
    backbone.eval()
    images = torch.linspace(-1, 1, card.channels * card.image_size**2)
    images = images.view(1, card.channels, card.image_size, card.image_size)
    widths, grids = [], []
    with torch.no_grad():
        tokens = backbone.embed(images)
        for number in range(1, backbone.depth + 1):
            tokens = backbone.block(number, tokens)
            widths.append(tokens.map.shape[1])
            grids.append(tokens.map.shape[-1])
        looped, whole = backbone.classify(tokens), backbone.model(images)
    pairs = {
        "depth": (card.depth, backbone.depth),
        "dims": (card.dims, tuple(widths)),
        "grids": (card.grids, tuple(grids)),
        "class tokens (prefix_tokens - registers)": (card.class_tokens, tokens.class_tokens.shape[1]),
    }
    mistakes = [
        f"{name} is {said} on the card and {true} in the model" for name, (said, true) in pairs.items() if said != true
    ]
    if not torch.allclose(looped, whole, atol=TOLERANCE):
        mistakes.append("block by block it gives other logits than its own forward pass")
    return mistakes
