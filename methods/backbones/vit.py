"""Vision Transformer (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929), timm's implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from methods.backbones.backbone import BlockBackbone
from methods.tokens import Tokens


class ViT(BlockBackbone):
    """A timm `VisionTransformer`, opened between its blocks."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model
        self.depth = len(model.blocks)
        self.grid = model.patch_embed.grid_size[0]

    def embed(self, images: Tensor) -> Tokens:
        values = self.model._pos_embed(self.model.patch_embed(images))
        return Tokens(self.model.norm_pre(values), self.grid, self.model.num_prefix_tokens)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        return replace(tokens, values=self.model.blocks[number - 1](tokens.values))

    def classify(self, tokens: Tokens) -> Tensor:
        return self.model.forward_head(self.model.norm(tokens.values))

    def block_names(self) -> list[str]:
        return [f"backbone.model.blocks.{i}" for i in range(self.depth)]

    def classifier_names(self) -> list[str]:
        return [f"backbone.model.{name}" for name in ("norm", "fc_norm", "head")]


def build(architecture: Mapping[str, Any], num_classes: int) -> ViT:
    """A randomly initialised ViT; ``architecture`` holds timm's keyword arguments."""
    return ViT(VisionTransformer(num_classes=num_classes, **architecture))
