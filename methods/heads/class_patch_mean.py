"""A linear classifier on class token and mean patch token: the cheapest head that sees the patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class ClassPatchMeanHead(ExitHead):
    """BatchNorm and one Linear on the class tokens and the mean of the patch tokens, concatenated.

    A baseline of this suite: it separates what a head gains from seeing the patches at all from what it gains from convolution
    or attention over them. The BatchNorm has no affine parameters, as in the linear probes of MAE (He et al., CVPR 2022): class
    token and patch mean differ in scale, and without it the Linear trains slowly. The feature is the input of the Linear,
    (B, (P + 1) C) with P class tokens.
    """

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.norm = nn.BatchNorm1d((class_tokens + 1) * dim, affine=False)
        self.linear = nn.Linear((class_tokens + 1) * dim, num_classes)
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        parts = [tokens.class_tokens.flatten(1)] if self.class_tokens else []
        joined = torch.cat([*parts, tokens.patches.mean(1)], dim=1)
        norm = self.norm
        if norm.training and len(joined) == 1 and isinstance(norm, nn.BatchNorm1d):  # one image has no variance
            feature = F.batch_norm(joined, norm.running_mean, norm.running_var, eps=norm.eps)
        else:
            feature = norm(joined)
        return self.linear(feature), feature
