"""Plain self-attention as an exit head: the official LGViT code's ``self_attention``, a control for the GAH."""

from __future__ import annotations

from typing import ClassVar

from timm.layers import Attention
from torch import Tensor

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.tokens import Tokens


class SelfAttentionHead(ExitHead):
    """The backbone's attention, biases and head count included, over all patch tokens; no residual, no norm.

    The feature is the attention's output, (B, N, C).
    """

    group: ClassVar = "global"
    group_distance: ClassVar = "gram"

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int, *, attention_heads: int = 8) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        check_attention_heads("self-attention", dim, attention_heads)
        self.attention = Attention(dim, num_heads=attention_heads, qkv_bias=True)
        self.classifier = MixedTokenClassifier(dim, num_classes, class_tokens)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        feature = self.attention(tokens.patches)
        return self.classifier(feature, tokens.class_tokens), feature


def check_attention_heads(head: str, dim: int, attention_heads: int) -> None:
    """
    Raises:
        ValueError: the width does not divide into them.
    """
    if dim % attention_heads:
        raise ValueError(f"{head}: the width {dim} does not divide into {attention_heads} attention heads")
