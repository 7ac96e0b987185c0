"""Global aggregation head: self-attention on a strided grid (LGViT, arXiv 2308.00255; layout of the official code)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.heads.upsampling import Upsampling
from methods.tokens import Tokens

ATTENTION_HEADS = 8


class GlobalAggregationHead(ExitHead):
    """Downsampling of the patch map, then self-attention with 8 heads; no norm and no MLP.

    The feature is the output of the attention, (B, N', C).

    Args:
        stride: downsampling factor of the patch map, from 1 to the side length g of the grid.
        pool: ``subsample`` keeps every ``stride``-th row and column, which gives N' = ceil(g / stride)^2 tokens. This is
            what the official code computes, because its average pooling has kernel size 1. ``average`` averages
            stride x stride patches, which gives N' = floor(g / stride)^2 tokens.
        residual: whether the input of the attention is added to its output; the official head does not add it.

    Raises:
        ValueError: ``stride`` or ``pool`` is invalid, or the width is not divisible by 8.
    """

    group: ClassVar = "global"
    group_distance: ClassVar = "gram"

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        stride: int = 2,
        pool: Literal["subsample", "average"] = "subsample",
        residual: bool = False,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        if not 1 <= stride <= grid:
            raise ValueError(f"gah: stride must be between 1 and {grid} on a {grid}x{grid} grid, not {stride}")
        if pool not in ("subsample", "average"):
            raise ValueError(f"gah: pool must be subsample or average, not {pool}")
        if dim % ATTENTION_HEADS:
            raise ValueError(f"gah: the width {dim} does not divide into {ATTENTION_HEADS} attention heads")
        self.stride, self.pool, self.residual = stride, pool, residual
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.classifier = MixedTokenClassifier(dim, num_classes, class_tokens)
        self.reset_parameters()

    def align(self, teacher: Tensor) -> Tensor:
        stride = self.stride
        pooled = F.avg_pool2d(teacher, stride) if self.pool == "average" else teacher[:, :, ::stride, ::stride]
        return pooled.flatten(2).transpose(1, 2)

    def upsampling(self) -> Upsampling:
        if self.pool == "average":
            return Upsampling(self.grid, self.grid // self.stride * self.stride)
        return Upsampling(self.grid, (self.grid - 1) // self.stride * self.stride + 1, samples=True)

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        inputs = self.align(tokens.map)
        dim = inputs.shape[-1]
        queries_keys_values = self.qkv(inputs).unflatten(2, (3, ATTENTION_HEADS, dim // ATTENTION_HEADS))
        query, key, value = queries_keys_values.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        feature = self.proj(attended.transpose(1, 2).flatten(2))
        if self.residual:
            feature = feature + inputs
        return self.classifier(feature, tokens.class_tokens), feature
