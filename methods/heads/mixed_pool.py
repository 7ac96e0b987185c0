"""The internal classifier of Shallow-Deep Networks (Kaya et al., ICML 2019), on a transformer's patch tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class MixedPoolHead(ExitHead):
    """Pooling a * max + (1 - a) * mean over the patch tokens, then one Linear; a is the sigmoid of a learned parameter.

    The original pools a convolutional map to 4x4 cells and does not constrain a to [0, 1]. Here pooling covers the whole
    grid, so that the input of the Linear has the same size as that of a linear head. Class tokens are not used. The feature
    is the pooled vector, (B, C).
    """

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.mixing = nn.Parameter(torch.zeros(()))
        self.linear = nn.Linear(dim, num_classes)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        weight = torch.sigmoid(self.mixing)
        patches = tokens.patches
        feature = weight * patches.amax(1) + (1 - weight) * patches.mean(1)
        return self.linear(feature), feature
