"""The cost table of a run whose tokens leave at exits, so that each image has a cost of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from methods.api import BackboneCard
from results.record import CostTable


def mean_costs(costs: CostTable, tokens: np.ndarray, card: BackboneCard, exits: Sequence[int]) -> CostTable:
    """The mean cost of images, from the number of their tokens in each block, in whole MACs.

    In a block of a ViT of width d, n tokens cost 2 n^2 d MACs for the products of attention, and the rest is proportional to
    n. The heads and the final classifier cost the same for each patch token that reaches them. A block's entry includes the
    head after it. The norms are those of all tokens. Choosing the tokens has no MACs.

    Args:
        costs: of the model with all tokens, exit by exit.
        tokens: number of tokens on which each block ran, class tokens and registers included, [N, L].
        card: of the backbone, a ViT.
        exits: blocks with a head, after which tokens leave, 1-based.

    Returns:
        a table with one exit, after the last block.
    """
    patches = card.grids[0] ** 2
    whole = patches + card.prefix_tokens
    counts = tokens.astype(np.float64)
    mean, width = counts.mean(0), np.array(card.dims)
    attention = 2 * width * (counts**2).mean(0)
    others = (np.array(costs.blocks) - 2 * width * whole**2) * mean / whole
    *heads, final = (
        np.array(costs.heads) * (mean[[block - 1 for block in (*exits, len(mean))]] - card.prefix_tokens) / patches
    )
    blocks = others + attention
    for block, head in zip(exits, heads, strict=True):
        blocks[block - 1] += head
    parts = [round(macs) for macs in (*blocks, final)]
    total = costs.stem + sum(parts)
    return costs.model_copy(
        update={
            "blocks": tuple(parts[:-1]),
            "heads": (parts[-1],),
            "cumulative": (total,),
            "linear_conv_cumulative": (total - round(attention.sum()),),
            "reduced_tokens": True,
        }
    )
