"""Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877), from timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone, FinalNorm, final_norm, with_norm
from methods.tokens import Tokens


class ViT(BlockBackbone):
    """A timm `VisionTransformer` that runs block by block. The prefix tokens are those of the timm model.

    Args:
        model: the timm model, with or without class, distillation and register tokens.

    Raises:
        ValueError: it is another model of timm, or its patch grid is not square.
    """

    timm_class: ClassVar[type[nn.Module]] = VisionTransformer

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, self.timm_class):
            raise ValueError(
                f"{type(model).__name__} is not timm's {self.timm_class.__name__}, so it cannot be run block by block here: "
                "its blocks may read more than the tokens of the block before"
            )
        self.model = model
        rows, columns = self.model.patch_embed.grid_size
        if rows != columns:
            raise ValueError(f"exit heads require a square patch grid, and this backbone's is {rows}x{columns}")
        self.depth = len(self.model.blocks)
        self.grid = rows
        self.registers = getattr(model, "num_reg_tokens", 0)

    def embed(self, images: Tensor) -> Tokens:
        values = self.model.patch_drop(self.model._pos_embed(self.model.patch_embed(images)))
        return Tokens(self.model.norm_pre(values), self.grid, self.model.num_prefix_tokens, self.registers)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        return replace(tokens, values=self.model.blocks[number - 1](tokens.values))

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        return self.model.forward_head(final_norm(self.model.norm, tokens.values, norm))

    def normalised(self, tokens: Tokens, norm: FinalNorm = "final") -> Tokens:
        """The output of the last block after the final norm; that of a mean over patches is applied to each of them."""
        module = self.model.fc_norm if isinstance(self.model.norm, nn.Identity) else self.model.norm
        return replace(tokens, values=final_norm(module, tokens.values, norm))

    def stage_end(self, number: int) -> int:
        return self.depth

    def block_names(self) -> list[tuple[str, ...]]:
        return [(f"backbone.model.blocks.{i}",) for i in range(self.depth)]

    def classifier_names(self) -> list[str]:
        names = ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
        return [f"backbone.model.{name}" for name in names if getattr(self.model, name, None) is not None]


class IdleDistillation(VisionTransformerDistilled):
    """DeiT's tokens with ViT's classifier: the distillation token takes part in attention, but no classifier reads it.

    This is the "ViT" with 198 tokens in the official LGViT code of July 2023, when the paper was written.
    """

    def __init__(self, **architecture: Any) -> None:
        super().__init__(**architecture)
        del self.head_dist
        self.num_reg_tokens = 1

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        token = self.head_drop(x[:, 0])
        return token if pre_logits else self.head(token)


def build(architecture: Mapping[str, Any], num_classes: int) -> ViT:
    """A randomly initialised ViT. ``architecture`` holds timm's keyword arguments and optionally ``norm_eps``."""
    return ViT(VisionTransformer(num_classes=num_classes, **with_norm(architecture)))


def build_distilled(architecture: Mapping[str, Any], num_classes: int) -> ViT:
    """A randomly initialised distilled DeiT with two class tokens and two classifiers, whose logits are averaged."""
    return ViT(VisionTransformerDistilled(num_classes=num_classes, **with_norm(architecture)))


def build_idle_distillation(architecture: Mapping[str, Any], num_classes: int) -> ViT:
    """A randomly initialised ViT with an idle distillation token."""
    return ViT(IdleDistillation(num_classes=num_classes, **with_norm(architecture)))
