"""EViT (Liang et al., ICLR 2022, arXiv 2202.07800): tokens that the class token hardly attends to are fused or dropped.

Written from the paper and from the description of its code (youweiliang/evit, commit 5ca95a7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.reductions.reduction import BlockReduction, Reducer, descending, gathered, without_grid
from methods.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class TokenReorganisation(BlockReduction):
    """Removes tokens in three blocks; `methods.token_reduction.EViT` describes the options."""

    keep: float
    fuse: bool = True

    def reducers(self, depth: int) -> Sequence[Reducer | None]:
        blocks = reducing_blocks(depth)
        return [Reorganise(self.keep, self.fuse) if block in blocks else None for block in range(1, depth + 1)]


def reducing_blocks(depth: int) -> tuple[int, ...]:
    """The blocks after a quarter, a half and three quarters of the depth: 4, 7 and 10 of 12 (1-based)."""
    return tuple(1 + depth * quarter // 4 for quarter in (1, 2, 3))


class Reorganise(Reducer):
    """Keeps the share ``keep`` of the tokens behind the prefix, by the attention of the class token, in descending order.

    With ``fuse``, the sum of the others, each weighted by its attention, is appended as one token.
    """

    def __init__(self, keep: float, fuse: bool) -> None:
        super().__init__()
        self.keep, self.fuse = keep, fuse

    def forward(self, tokens: Tokens, queries: Tensor, keys: Tensor, scale: float) -> Tokens:
        values, prefix = tokens.values, tokens.prefix
        others = values.shape[1] - prefix
        count = math.ceil(self.keep * others)
        if count >= others:
            return tokens
        products = scale * queries[:, :, :1] @ keys.transpose(-2, -1)
        attention = products.softmax(-1).mean(1)[:, 0, prefix:]
        order = descending(attention.detach())
        front, patches = values[:, :prefix], values[:, prefix:]
        parts = [front, gathered(patches, order[:, :count])]
        if self.fuse:
            rest = order[:, count:]
            weights = attention.gather(1, rest)[..., None].to(values.dtype)
            parts.append((gathered(patches, rest) * weights).sum(1, keepdim=True))
        return without_grid(tokens, torch.cat(parts, dim=1))
