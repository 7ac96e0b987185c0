"""EVA and ViTs with rotary positions (Fang et al., arXiv 2303.11331; Heo et al., arXiv 2403.13298), from timm."""

from __future__ import annotations

from dataclasses import replace

from timm.models.eva import Eva
from torch import Tensor, nn

from methods.backbones.vit import ViT
from methods.tokens import Tokens


class EvaViT(ViT):
    """A timm `Eva` that runs block by block. Its blocks also read rotary positions, which `embed` computes once.

    Raises:
        ValueError: it is another model of timm, or its patch grid is not square.
    """

    timm_class = Eva

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.registers = 0 if self.model.reg_token is None else self.model.reg_token.shape[1]

    def embed(self, images: Tensor) -> Tokens:
        values, rotary = self.model._pos_embed(self.model.patch_embed(images))
        values = self.model.norm_pre(values)
        return Tokens(values, self.grid, self.model.num_prefix_tokens, self.registers, rotary)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        rotary = tokens.rotary
        if rotary is not None and self.model.rope_mixed:  # positions of each block's own
            rotary = rotary[number - 1]
        return replace(tokens, values=self.model.blocks[number - 1](tokens.values, rope=rotary))
