"""Exit head with a multi-layer perceptron, based on MLP-EE (Bakhtiarnia et al., arXiv 2106.15183)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class MLPHead(ExitHead):
    """LayerNorm, Linear and GELU on each class token, then one Linear per token; the logits are averaged.

    Without class tokens, the input is the mean of the patch tokens. The feature is the hidden layer,
    (B, max(class tokens, 1), hidden_ratio x C).

    Args:
        hidden_ratio: width of the hidden layer divided by the width of the tokens.

    Raises:
        ValueError: the hidden layer would have no unit.
    """

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int, *, hidden_ratio: float = 1.0) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        hidden = int(dim * hidden_ratio)
        if hidden < 1:
            raise ValueError(f"mlp: hidden_ratio {hidden_ratio} leaves no hidden unit at width {dim}")
        self.norm = nn.LayerNorm(dim)
        self.hidden = nn.Linear(dim, hidden)
        self.linears = nn.ModuleList(nn.Linear(hidden, num_classes) for _ in range(max(class_tokens, 1)))
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        inputs = tokens.class_tokens if self.class_tokens else tokens.patches.mean(1, keepdim=True)
        feature = F.gelu(self.hidden(self.norm(inputs)))
        logits = torch.stack([linear(feature[:, i]) for i, linear in enumerate(self.linears)])
        return logits.mean(0), feature
