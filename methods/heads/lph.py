"""Local perception head: convolutions on the patch map (LGViT, arXiv 2308.00255; layout of the official code)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead, MixedTokenClassifier
from methods.tokens import Tokens


class LocalPerceptionHead(ExitHead):
    """1x1 convolution, GELU, BatchNorm; depthwise k x k convolution, GELU, BatchNorm; 1x1 convolution, BatchNorm; residual.

    The feature is the token map after the residual sum, (B, N, C).

    Args:
        kernel: kernel size k of the depthwise convolution, 3 or 5. 0 removes it, which leaves only pointwise convolutions.
            3 is ``conv1_1`` in the official code, and 0 is ``conv2_1``.

    Raises:
        ValueError: ``kernel`` is not 0, 3 or 5.
    """

    group: ClassVar = "local"

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int, *, kernel: int = 3) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        if kernel not in (0, 3, 5):
            raise ValueError(f"lph: kernel must be 3, 5 or 0 (no depthwise convolution), not {kernel}")
        self.pointwise_in = nn.Conv2d(dim, dim, 1)
        self.norm_in = nn.BatchNorm2d(dim)
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim) if kernel else None
        self.norm_depthwise = nn.BatchNorm2d(dim) if kernel else None
        self.pointwise_out = nn.Conv2d(dim, dim, 1)
        self.norm_out = nn.BatchNorm2d(dim)
        self.classifier = MixedTokenClassifier(dim, num_classes, class_tokens)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        hidden = self.norm_in(F.gelu(self.pointwise_in(tokens.map)))
        if self.depthwise is not None and self.norm_depthwise is not None:
            hidden = self.norm_depthwise(F.gelu(self.depthwise(hidden)))
        hidden = self.norm_out(self.pointwise_out(hidden))
        feature = hidden.flatten(2).transpose(1, 2) + tokens.patches
        return self.classifier(feature, tokens.class_tokens), feature
