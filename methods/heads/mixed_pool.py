"""The internal classifier of Shallow-Deep Networks (Kaya et al., ICML 2019), on a transformer's patch tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class MixedPoolHead(ExitHead):
    """a * max + (1 - a) * mean over the patch tokens, a learned and kept in [0, 1] by a sigmoid, then one Linear.

    The original pools a convolutional map to 4x4 cells with a raw a; here the cell is the whole grid, as class tokens and
    linear heads see it. Class tokens are not read. The feature is what was pooled, (B, C).
    """

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.mixing = nn.Parameter(torch.zeros(()))
        self.linear = nn.Linear(dim, num_classes)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        share = torch.sigmoid(self.mixing)
        patches = tokens.patches
        feature = share * patches.amax(1) + (1 - share) * patches.mean(1)
        return self.linear(feature), feature
