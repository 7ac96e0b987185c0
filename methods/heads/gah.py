"""Global aggregation head: self-attention on a strided grid (LGViT, arXiv 2308.00255; layout of the official code)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.tokens import Tokens

ATTENTION_HEADS = 8


class GlobalAggregationHead(ExitHead):
    """Every ``stride``-th row and column of the patch map, then 8-head attention; no residual, no norm, no MLP.

    The official code subsamples by an average pool with kernel 1, which averages nothing; so does this. The feature is
    the attention's output, (B, N', C) with N' = ceil(g / stride)^2.
    """

    group: ClassVar = "global"

    def __init__(self, dim: int, num_classes: int, grid: int, prefix_tokens: int, *, stride: int = 2) -> None:
        super().__init__(dim, num_classes, grid, prefix_tokens)
        if not 1 <= stride <= grid:
            raise ValueError(f"gah: stride is 1 to {grid} on a {grid}x{grid} grid, not {stride}")
        if dim % ATTENTION_HEADS:
            raise ValueError(f"gah: the width {dim} does not divide into {ATTENTION_HEADS} attention heads")
        self.stride = stride
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.classifier = MixedTokenClassifier(dim, num_classes, prefix_tokens)
        self.reset_parameters()

    def align(self, teacher: Tensor) -> Tensor:
        return teacher[:, :, :: self.stride, :: self.stride].flatten(2).transpose(1, 2)

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        batch, _, dim = tokens.patches.shape
        queries_keys_values = self.qkv(self.align(tokens.map)).unflatten(
            2, (3, ATTENTION_HEADS, dim // ATTENTION_HEADS)
        )
        query, key, value = queries_keys_values.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        feature = self.proj(attended.transpose(1, 2).reshape(batch, -1, dim))
        return self.classifier(feature, tokens.class_tokens), feature
