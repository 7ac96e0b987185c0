"""A learned gate for detectors: whether the final exit would do no better on an image than an early one.

DynamicDet (Lin et al., CVPR 2023) routes images between two detectors so; here it is one gate at each early exit.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEMORY = 50
"""Number of batches over which the running median is averaged, once there are as many."""


class Router(nn.Module):
    """Mean of a token map, Linear to a quarter of its width, ReLU, and Linear to one logit.

    The gate learns beside the detector and gives it no gradient; only clipping by norm takes the gradients of both together.

    Attributes:
        gap: running median of the loss of this exit less that of the final one. It is the mean of the medians of batches, of
            all of them at first and then with a weight of 1 / 50 for the newest, because losses fall while the detector learns.
        batches: number of batches so far.
        running_statistics: names of the buffers that processes which train together average.
    """

    running_statistics: ClassVar = ("gap",)
    gap: Tensor
    batches: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, max(dim // 4, 1))
        self.score = nn.Linear(max(dim // 4, 1), 1)
        for linear in (self.hidden, self.score):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.register_buffer("gap", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, feature: Tensor) -> Tensor:
        """Map tokens (B, N, C) to logits (B,)."""
        return self.score(F.relu(self.hidden(feature.detach().mean(1))))[:, 0]

    def loss(self, logits: Tensor, own: Tensor, final: Tensor) -> Tensor:
        """The mean of s (L_k - gap / 2) + (1 - s) (L_K + gap / 2), with s the sigmoid of the logit; updates the running median.

        s rises for images on which this exit loses less against the final one than on half of all images.

        Args:
            logits: of the gate, (B,).
            own: loss L_k of each image at this exit, without gradient, (B,).
            final: loss L_K at the final exit, likewise.
        """
        if self.training:
            self.observe(own - final)
        easy = logits.float().sigmoid()
        return (easy * (own - self.gap / 2) + (1 - easy) * (final + self.gap / 2)).mean()

    def observe(self, gaps: Tensor) -> None:
        """Update the running median by the differences of a batch, (B,)."""
        self.batches += 1
        weight = 1 / self.batches.clamp(max=MEMORY).to(gaps.dtype)
        self.gap += weight * (gaps.detach().quantile(0.5) - self.gap)
