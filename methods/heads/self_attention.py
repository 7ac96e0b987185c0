"""Exit head with plain self-attention: ``self_attention`` of the official LGViT code, used as a control for the GAH."""

from __future__ import annotations

from typing import ClassVar

from timm.layers import Attention
from torch import Tensor

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.tokens import Tokens


class SelfAttentionHead(ExitHead):
    """Self-attention over all patch tokens, with the backbone's number of heads and with biases; no residual, no norm.

    The feature is the output of the attention, (B, N, C).
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
    """Check that the width ``dim`` is divisible by the number of attention heads.

    Raises:
        ValueError: it is not divisible.
    """
    if dim % attention_heads:
        raise ValueError(f"{head}: the width {dim} does not divide into {attention_heads} attention heads")
