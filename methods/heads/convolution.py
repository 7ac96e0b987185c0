"""Exit head with a plain convolution: ``conv_normal`` of the official LGViT code, used as a control for the LPH."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.tokens import Tokens


class ConvolutionHead(ExitHead):
    """3x3 convolution over all channels, GELU, BatchNorm; no residual. The feature is the resulting token map (B, N, C)."""

    group: ClassVar = "local"

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.convolution = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm = nn.BatchNorm2d(dim)
        self.classifier = MixedTokenClassifier(dim, num_classes, class_tokens)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        feature = self.norm(F.gelu(self.convolution(tokens.map))).flatten(2).transpose(1, 2)
        return self.classifier(feature, tokens.class_tokens), feature
