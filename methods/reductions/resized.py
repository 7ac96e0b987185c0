"""A ViT for smaller images, with the weights of a ViT for larger ones."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.backbones.backbone import BlockBackbone
from methods.backbones.vit import ViT
from methods.tokens import Tokens


class SmallerViT(ViT):
    """The ViT on images that it resizes itself; position embeddings are resampled by timm.

    Args:
        backbone: the ViT for the whole images; its modules are used, not copied.
        share: of the side of the patch grid; the smaller grid is rounded up to whole patches.

    Attributes:
        side: of the smaller images, in pixels.

    Raises:
        ValueError: the backbone is no ViT of timm, or its grid is too small to be reduced.
    """

    is_reduced = True

    def __init__(self, backbone: BlockBackbone, share: float) -> None:
        if type(backbone) is not ViT:
            raise ValueError(f"only a ViT or DeiT runs on smaller images, not {type(backbone).__name__}")
        grid = math.ceil(share * backbone.grid)
        if grid >= backbone.grid:
            raise ValueError(f"a share of {share} of {backbone.grid} x {backbone.grid} patches leaves all of them")
        side = grid * backbone.model.patch_embed.patch_size[0]
        super().__init__(_at_size(backbone.model, side))
        self.side = side
        self.train(backbone.training)

    def embed(self, images: Tensor) -> Tokens:
        smaller = F.interpolate(images.float(), (self.side, self.side), mode="bilinear", antialias=True)
        return super().embed(smaller.to(images.dtype))


def _at_size(model: Any, side: int) -> nn.Module:
    """The timm model for images of another size; it shares all modules, and its position embeddings are resampled by timm."""
    resized: Any = _copied(model)
    resized.patch_embed = _copied(model.patch_embed)
    with torch.no_grad():
        resized.set_input_size(img_size=(side, side))
    positions = resized._parameters.pop("pos_embed")
    if positions is not None:  # a buffer, because it follows from the weights
        resized.register_buffer("pos_embed", positions.detach(), persistent=False)
    else:
        resized.pos_embed = None
    return resized


def _copied(module: nn.Module) -> Any:
    """A copy whose parameters and submodules are those of the module; either can get others."""
    clone = copy.copy(module)
    clone._parameters, clone._modules, clone._buffers = (
        dict(module._parameters), dict(module._modules), dict(module._buffers),
    )  # fmt: skip
    return clone
