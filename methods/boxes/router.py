"""A learned gate for detectors: whether the final exit would do no better on an image than an early one.

DynamicDet (Lin et al., CVPR 2023) routes images between two detectors so; here it is one gate at each early exit.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEMORY = 128
"""Number of images over which the running median is averaged. Few, because losses fall while the detector learns: against an
older median most images would seem easy."""


class Router(nn.Module):
    """Mean of a token map, Linear to a quarter of its width, ReLU, Linear to one logit, and BatchNorm without scale and shift.

    The gate learns beside the detector and gives it no gradient; only clipping by norm takes the gradients of both together.
    DynamicDet has no BatchNorm: it trains the gate of two detectors that are already trained. Beside a detector that learns,
    nothing else would bring the gate back once falling losses have pushed it to one side for all images.

    Attributes:
        gap: running median of the loss of this exit less that of the final one: the mean of the medians of batches, of all of
            them for the first `MEMORY` images, and then with a weight for the newest of its images over `MEMORY`.
        images: number of images so far, over all processes that train together.
        running_statistics: names of the buffers that processes which train together average, beside those of the BatchNorm.
    """

    running_statistics: ClassVar = ("gap",)
    gap: Tensor
    images: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, max(dim // 4, 1))
        self.score = nn.Linear(max(dim // 4, 1), 1)
        for linear in (self.hidden, self.score):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.register_buffer("gap", torch.zeros(()))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))

    def forward(self, feature: Tensor) -> Tensor:
        """Map tokens (B, N, C) to logits (B,), with mean 0 and variance 1 over the training images."""
        score = self.score(F.relu(self.hidden(feature.detach().mean(1))))
        # One image has no variance. A SyncBatchNorm has those of all ranks, which wait for this one.
        if self.training and len(score) == 1 and not isinstance(self.norm, nn.SyncBatchNorm):
            return F.batch_norm(score, self.norm.running_mean, self.norm.running_var)[:, 0]
        return self.norm(score)[:, 0]

    def loss(self, logits: Tensor, own: Tensor, final: Tensor, images: int | None = None) -> Tensor:
        """The mean of s (L_k - gap / 2) + (1 - s) (L_K + gap / 2), with s the sigmoid of the logit; updates the running median.

        s rises for images on which this exit loses less against the final one than on half of all images.

        Args:
            logits: of the gate, (B,).
            own: loss L_k of each image at this exit, without gradient, (B,).
            final: loss L_K at the final exit, likewise.
            images: number of images over all processes that train together; None if these are all.
        """
        if self.training:
            self.observe(own - final, images)
        easy = logits.float().sigmoid()
        return (easy * (own - self.gap / 2) + (1 - easy) * (final + self.gap / 2)).mean()

    def observe(self, gaps: Tensor, images: int | None = None) -> None:
        """Update the running median by the differences of a batch, (B,).

        Where processes train together, each has a part of the ``images``. The median of a part gets the weight of all images,
        because the processes average their medians.
        """
        count = len(gaps) if images is None else images
        self.images += count
        weight = count / self.images.clamp(min=count, max=max(count, MEMORY)).to(gaps.dtype)
        self.gap += weight * (gaps.detach().quantile(0.5) - self.gap)
