"""Swin Transformer (Liu et al., arXiv 2103.14030) and its version 2 (Liu et al., arXiv 2111.09883), from timm."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone, FinalNorm, final_norm, with_norm
from methods.tokens import Tokens


class Swin(BlockBackbone):
    """A timm `SwinTransformer` or `SwinTransformerV2` that runs block by block. Block numbers count over all stages.

    Patch merging is part of the first block of the stage that follows it. The output of a stage's last block therefore has the
    width and grid of its own stage, and an exit can follow that block.

    Raises:
        ValueError: it is another model of timm, or its patch grid is not square.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, SwinTransformer | SwinTransformerV2):
            raise ValueError(
                f"{type(model).__name__} is no SwinTransformer of timm (version 1 or 2): it cannot be run block by block here"
            )
        patches: Any = model.patch_embed
        rows, columns = patches.grid_size
        if rows != columns:
            raise ValueError(f"exit heads require a square patch grid, and this backbone's is {rows}x{columns}")
        self.model = model
        stages: Any = model.layers
        self._place = [(s, i) for s, stage in enumerate(stages) for i in range(len(stage.blocks))]
        self._ends = list(accumulate(len(stage.blocks) for stage in stages))
        self.depth = len(self._place)

    def embed(self, images: Tensor) -> Tokens:
        values = self.model.patch_embed(images)
        return Tokens(values, values.shape[1])

    def block(self, number: int, tokens: Tokens) -> Tokens:
        stage, index = self._place[number - 1]
        layer, values = self.model.layers[stage], tokens.values
        if index == 0:
            values = layer.downsample(values)
        values = layer.blocks[index](values)
        return Tokens(values, values.shape[1])

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        return self.model.forward_head(final_norm(self.model.norm, tokens.values, norm))

    def stage_end(self, number: int) -> int:
        return next(end for end in self._ends if number <= end)

    def block_names(self) -> list[tuple[str, ...]]:
        names: list[tuple[str, ...]] = []
        for stage, index in self._place:
            block = f"backbone.model.layers.{stage}.blocks.{index}"
            merging = f"backbone.model.layers.{stage}.downsample"
            names.append((merging, block) if stage and not index else (block,))
        return names

    def classifier_names(self) -> list[str]:
        return ["backbone.model.norm", "backbone.model.head"]


def build(architecture: Mapping[str, Any], num_classes: int) -> Swin:
    """A randomly initialised Swin. ``architecture`` holds timm's keyword arguments and optionally ``norm_eps``."""
    return Swin(SwinTransformer(num_classes=num_classes, **with_norm(architecture)))
