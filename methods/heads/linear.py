"""The usual internal classifier: pooler + linear (DeeBERT, Xin et al., ACL 2020; as ported by falcon-xu/LGViT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class LinearHead(ExitHead):
    """One class token: tanh(Linear) and Linear. Two: LayerNorm and one Linear each, averaged. None: LayerNorm, mean, Linear.

    The feature is what enters the last Linear: (B, C), or (B, 2, C) with two class tokens.
    """

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.pooler = nn.Linear(dim, dim) if class_tokens == 1 else None
        self.norm = None if class_tokens == 1 else nn.LayerNorm(dim, eps=1e-12 if class_tokens else 1e-5)
        self.linears = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(max(class_tokens, 1)))
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if self.pooler is not None:
            feature = torch.tanh(self.pooler(tokens.class_tokens[:, 0]))
            return self.linears[0](feature), feature
        assert self.norm is not None
        if self.class_tokens == 0:
            feature = self.norm(tokens.patches).mean(1)
            return self.linears[0](feature), feature
        feature = self.norm(tokens.class_tokens)
        return sum(linear(feature[:, i]) for i, linear in enumerate(self.linears)) / len(self.linears), feature
