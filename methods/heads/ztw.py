"""The cascading head of Zero Time Waste: a linear classifier that also reads the logits of the exit before.

Source: Wójcik et al., "Zero time waste in pre-trained early exit neural networks", Neural Networks 2023, for ViT; Wołczyk et
al., NeurIPS 2021 (arXiv 2106.05409), for the idea. Written from the formulas; gmum/Zero-Time-Waste was read at commit 8341f3a.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class ZTWHead(ExitHead):
    """logits = Linear([h, LayerNorm(previous logits)]), with h the block's class token as it is, without a norm.

    h is followed by ``layers`` - 1 times Linear and GELU; the previous logits enter before the last Linear only. With two class
    tokens, h is their mean. Without class tokens (Swin), h is a * max + (1 - a) * mean over the patch tokens, with a learned,
    unbounded number a. The feature is the input of the last Linear without the previous logits.

    Args:
        cascade: whether the head reads the logits of the exit before; False for the first exit.
        detach: whether no gradient flows into the exit before.
        layers: number of Linear layers.
        hidden: width of the layers before the last.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        cascade: bool = True,
        detach: bool = True,
        layers: int = 1,
        hidden: int = 1024,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.cascades, self.detach = cascade, detach
        self.mixing = nn.Parameter(torch.rand(())) if class_tokens == 0 else None
        widths = [dim, *[hidden] * (layers - 1)]
        self.hidden_layers = nn.ModuleList(
            nn.Sequential(nn.Linear(narrow, wide), nn.GELU()) for narrow, wide in pairwise(widths)
        )
        self.norm = nn.LayerNorm(num_classes) if cascade else None
        self.linear = nn.Linear(widths[-1] + (num_classes if cascade else 0), num_classes)
        self.reset_parameters()

    def forward(self, tokens: Tokens, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute logits and feature; ``previous`` are the logits (B, num_classes) of the exit before.

        Raises:
            ValueError: the head cascades, and ``previous`` is missing.
        """
        feature = self._pooled(tokens)
        for layer in self.hidden_layers:
            feature = layer(feature)
        if self.norm is None:
            return self.linear(feature), feature
        if previous is None:
            raise ValueError("a cascading head requires the logits of the exit before; the first exit must not cascade")
        earlier = self.norm(previous.detach() if self.detach else previous)
        return self.linear(torch.cat([feature, earlier.to(feature.dtype)], dim=-1)), feature

    def after(self, tokens: Tokens, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        return self(tokens, previous)

    def _pooled(self, tokens: Tokens) -> Tensor:
        if self.mixing is None:
            return tokens.class_tokens.mean(1)
        patches = tokens.patches
        return self.mixing * patches.amax(1) + (1 - self.mixing) * patches.mean(1)
