"""ToMe (Bolya et al., ICLR 2023, arXiv 2210.09461): similar tokens are merged in every block.

Written from the paper and from the description of its code (facebookresearch/ToMe, commit af95e4b).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.reductions.reduction import BlockReduction, Reducer, descending, gathered, without_grid
from methods.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class TokenMerging(BlockReduction):
    """Merges tokens after the attention of each block; `methods.token_reduction.ToMe` describes the options."""

    r: int
    slope: float = 0.0
    proportional: bool = True

    @property
    def attention_by_size(self) -> bool:
        return self.proportional

    def reducers(self, depth: int) -> Sequence[Reducer | None]:
        return [Merge(count) if count else None for count in merge_counts(self.r, self.slope, depth)]


def merge_counts(r: int, slope: float, depth: int) -> tuple[int, ...]:
    """The number of merged tokens of each block: on a line from r * (1 - slope) to r * (1 + slope), rounded down."""
    first = int(r * (1 - slope))
    last = 2 * r - first
    return tuple(int(first + (last - first) / max(depth - 1, 1) * block) for block in range(depth))


class Merge(Reducer):
    """Merges ``count`` pairs of tokens, or as many as there can be: every merged token is at an even position."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens: Tokens, queries: Tensor, keys: Tensor, scale: float) -> Tokens:
        values, prefix = tokens.values, tokens.prefix
        count = min(self.count, (values.shape[1] - prefix) // 2)
        if count <= 0:
            return tokens
        sizes = tokens.sizes
        if sizes is None:
            sizes = torch.ones(values.shape[:2], dtype=torch.float32, device=values.device)
        staying, merged, targets = match(keys.mean(1), count, prefix)
        weights = sizes[..., None].to(values.dtype)
        sums = merge(values * weights, staying, merged, targets, prefix)
        merged_sizes = merge(sizes[..., None], staying, merged, targets, prefix)
        return without_grid(tokens, sums / merged_sizes.to(values.dtype), merged_sizes[..., 0])


@torch.no_grad()
def match(metric: Tensor, count: int, prefix: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bipartite soft matching: each even token's most similar odd token; the most similar pairs are merged.

    Args:
        metric: (B, N, D), compared by cosine similarity.
        count: number M of pairs.
        prefix: number of tokens at the beginning that are not merged.

    Returns:
        indices among the even tokens of those that stay, ascending, and of those that are merged, (B, M); and the index among
        the odd tokens of the partner of each merged one, (B, M).
    """
    metric = F.normalize(metric, dim=-1)
    even, odd = metric[:, ::2], metric[:, 1::2]
    similarity = even @ odd.transpose(1, 2)
    similarity[:, : (prefix + 1) // 2] = -torch.inf
    similarity[:, :, : prefix // 2] = -torch.inf
    best, partner = similarity.max(-1)
    order = descending(best)
    merged = order[:, :count]
    return order[:, count:].sort(1).values, merged, partner.gather(1, merged)


def merge(values: Tensor, staying: Tensor, merged: Tensor, targets: Tensor, prefix: int) -> Tensor:
    """Add each merged token to its partner: values (B, N, C) to (B, N - M, C).

    The prefix keeps its place; then follow the other even tokens that stay, and the odd tokens.
    """
    even, odd = values[:, ::2], values[:, 1::2]
    stays = gathered(even, staying)
    odd = odd.scatter_add(1, targets[..., None].expand(-1, -1, values.shape[-1]), gathered(even, merged))
    evens = (prefix + 1) // 2  # of the prefix
    front = [stays[:, i // 2, None] if i % 2 == 0 else odd[:, i // 2, None] for i in range(prefix)]
    return torch.cat([*front, stays[:, evens:], odd[:, prefix // 2 :]], dim=1)
