"""Backbones with fewer tokens: the interface, and a ViT whose blocks remove tokens after their attention and lose the grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.backbones.vit import ViT
from methods.tokens import Tokens

if TYPE_CHECKING:
    from methods.model import ExitHeads


class Reducer(nn.Module, ABC):
    """Removes tokens in one block, after its attention. It has no parameters."""

    @abstractmethod
    def forward(self, tokens: Tokens, queries: Tensor, keys: Tensor, scale: float) -> Tokens:
        """Remove tokens.

        Args:
            tokens: the block's input plus the output of its attention.
            queries: of the block's attention, (B, heads, N, width of a head).
            keys: likewise.
            scale: factor of the products of queries and keys.
        """


class Reduction(ABC):
    """A way to run a backbone with fewer tokens."""

    @abstractmethod
    def reduce(self, backbone: BlockBackbone, heads: ExitHeads | None = None) -> BlockBackbone:
        """The backbone with fewer tokens, which uses the backbone's modules.

        Args:
            backbone: to reduce.
            heads: trained exit heads, for a reduction by the answers of heads; the others ignore them.

        Raises:
            ValueError: tokens of this backbone cannot be removed.
        """


class BlockReduction(Reduction):
    """A rule that gives blocks of a ViT their reducers."""

    def reduce(self, backbone: BlockBackbone, heads: ExitHeads | None = None) -> BlockBackbone:
        return ReducedViT(backbone, self)

    @property
    def attention_by_size(self) -> bool:
        """Whether the logarithm of a token's size is added to the attention that it receives."""
        return False

    @abstractmethod
    def reducers(self, depth: int) -> Sequence[Reducer | None]:
        """The reducer of each of ``depth`` blocks; None for a block that keeps its tokens."""


class ReducedViT(ViT):
    """A ViT that removes tokens. It has the parameters of the ViT, under the same names.

    Args:
        backbone: the ViT; its modules are used, not copied.
        reduction: which blocks remove tokens, and how.

    Raises:
        ValueError: the backbone is no ViT of plain blocks whose classifier reads the class token.
    """

    is_reduced = True

    def __init__(self, backbone: BlockBackbone, reduction: BlockReduction) -> None:
        if type(backbone) is not ViT:
            raise ValueError(f"tokens can be removed from a ViT or DeiT only, not from {type(backbone).__name__}")
        super().__init__(backbone.model)
        check_plain_blocks(backbone)
        if self.model.global_pool != "token":
            raise ValueError(
                f"tokens can be removed only if the classifier reads the class token, not {self.model.global_pool!r}"
            )
        self.attention_by_size = reduction.attention_by_size
        self.reducers = nn.ModuleList(one or nn.Identity() for one in reduction.reducers(self.depth))
        self.train(backbone.training)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        block, reducer = self.model.blocks[number - 1], self.reducers[number - 1]
        values, mask = tokens.values, None
        if self.attention_by_size and tokens.sizes is not None:
            mask = tokens.sizes.log()[:, None, None].to(values.dtype)
        if not isinstance(reducer, Reducer):
            return replace(tokens, values=block(values, attn_mask=mask))
        with _Output(block.attn.q_norm) as queries, _Output(block.attn.k_norm) as keys:
            attended = block.attn(block.norm1(values), attn_mask=mask)
        values = values + block.drop_path1(block.ls1(attended))
        tokens = reducer(replace(tokens, values=values), queries.values, keys.values, block.attn.scale)
        values = tokens.values + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens.values))))
        return replace(tokens, values=values)

    def block_names(self) -> list[tuple[str, ...]]:
        return [(*names, f"backbone.reducers.{i}") for i, names in enumerate(super().block_names())]


def check_plain_blocks(backbone: ViT) -> None:
    """
    Raises:
        ValueError: a block is another one than timm's plain block, so that it may not run on any number of tokens.
    """
    for block in backbone.model.blocks:
        if type(block) is not Block or type(block.attn) is not Attention:
            raise ValueError(
                "tokens can be removed only between the attention and the MLP of timm's plain block, not in "
                f"{type(block).__name__} with {type(getattr(block, 'attn', None)).__name__}"
            )


class _Output:
    """A context that keeps the last output of a module as ``values``."""

    values: Tensor

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> _Output:
        self.handle = self.module.register_forward_hook(self._keep)
        return self

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.values = output

    def __exit__(self, *error: object) -> None:
        self.handle.remove()


def gathered(values: Tensor, positions: Tensor) -> Tensor:
    """The tokens at ``positions`` (B, M) of ``values`` (B, N, C): (B, M, C)."""
    return values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))


def descending(scores: Tensor) -> Tensor:
    """The positions that sort ``scores`` (B, N) from large to small; equal scores keep their order."""
    return torch.argsort(scores, dim=1, descending=True, stable=True)


def without_grid(tokens: Tokens, values: Tensor, sizes: Tensor | None = None) -> Tokens:
    """Tokens with the ``values`` (B, M, C) that are left, each made of ``sizes`` (B, M) patches; they have no grid."""
    return replace(tokens, values=values, grid=0, sizes=sizes)
