"""Lower resolution: the backbone on a smaller copy of the image, with the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.backbones.backbone import BlockBackbone
from methods.backbones.map_classifier import MapBackbone
from methods.reductions.reduction import Reduction
from methods.reductions.resized import SmallerViT

if TYPE_CHECKING:
    from methods.model import ExitHeads


@dataclass(frozen=True, kw_only=True)
class LowerResolution(Reduction):
    """Runs the backbone on smaller images; `methods.two_resolutions.LowerResolution` describes the option."""

    share: float

    def reduce(self, backbone: BlockBackbone, heads: ExitHeads | None = None) -> BlockBackbone:
        if not isinstance(backbone, MapBackbone):
            return SmallerViT(backbone, self.share)
        smaller = type(backbone)(SmallerViT(backbone.whole, self.share), backbone.readout)
        return smaller.train(backbone.training)
