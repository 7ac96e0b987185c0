"""Exit head with an additional transformer block: ViT-EE (Bakhtiarnia et al., arXiv 2106.15183; the official LGViT port)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.heads.linear import LinearHead
from methods.heads.self_attention import check_attention_heads
from methods.tokens import Tokens


class ViTEEHead(ExitHead):
    """A pre-norm transformer block over all tokens, including prefix tokens, then a `LinearHead`.

    The feature is that of the `LinearHead`. On Swin, the official port uses 8 attention heads and an MLP of 6 times the width
    (3072 at width 512).
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        attention_heads: int = 8,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        check_attention_heads("vit-ee", dim, attention_heads)
        norm = partial(nn.LayerNorm, eps=1e-12)
        self.block = Block(dim, attention_heads, mlp_ratio=mlp_ratio, qkv_bias=True, norm_layer=norm)  # type: ignore[arg-type]
        self.head = LinearHead(dim, num_classes, grid, class_tokens)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        return self.head(replace(tokens, values=self.block(tokens.sequence)))
