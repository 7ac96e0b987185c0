"""Exit heads that find boxes: the token map of a head, then FCOS's convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOSHead

from methods.boxes.router import Router
from methods.heads.head import ExitHead
from methods.heads.map_readout import MapReadout, with_map_readout

CHANNELS = 128
GROUPS = 32
"""Groups of the norm in torchvision's head, which divide the number of channels."""


class BoxReadout(nn.Module):
    """LayerNorm on each token, a 1x1 convolution to the channels of `FCOSHead`, and that head with one convolution a branch.

    The convolution gives 128 channels; for narrower tokens the next multiple of 32 above their width, because the head of an
    exit would otherwise cost more than the blocks that it saves.

    Args:
        dim: width of the tokens.
        num_classes: number of classes.
        upsampling: to the patch grid, before the head, so that all exits of a model have the same cells.
        routed: whether a `Router` reads the tokens, too, after the LayerNorm.
    """

    def __init__(self, dim: int, num_classes: int, upsampling: nn.Module, *, routed: bool) -> None:
        super().__init__()
        channels = min(CHANNELS, GROUPS * -(-dim // GROUPS))
        self.upsampling = upsampling
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.project = nn.Conv2d(dim, channels, 1, bias=False)
        self.detector = FCOSHead(channels, 1, num_classes, num_convs=1)
        self.router = Router(dim) if routed else None
        nn.init.trunc_normal_(self.project.weight, std=0.02)

    def forward(self, feature: Tensor, class_tokens: Tensor | None = None) -> Tensor:
        """Map square maps of tokens (B, M, C) to `methods.boxes.maps`, (B, num_classes + 6, g, g)."""
        side = isqrt(feature.shape[1])
        tokens = self.norm(feature)
        maps = self.upsampling(self.project(tokens.transpose(1, 2).unflatten(2, (side, side))))
        found = self.detector([maps])
        cells = torch.cat([found["cls_logits"], found["bbox_regression"], found["bbox_ctrness"]], 2).transpose(1, 2)
        easy = cells.new_zeros(len(cells)) if self.router is None else self.router(tokens).to(cells.dtype)
        columns = torch.cat([cells, easy[:, None, None].expand(-1, 1, cells.shape[2])], 1)
        return columns.unflatten(2, maps.shape[2:])


def with_box_readout(
    cls: type[ExitHead], dim: int, num_classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
) -> ExitHead:
    """A head of class ``cls`` that finds boxes, and a router. The arguments are those of `ExitHead`.

    Raises:
        ValueError: the head has neither a token map nor a counterpart that has one, or not with these options.
    """
    head: Any = with_map_readout(cls, dim, num_classes, grid, class_tokens, options)
    assert isinstance(head.classifier, MapReadout)
    head.classifier = BoxReadout(head.classifier.linear.in_features, num_classes, head.upsampling(), routed=True)
    return head
