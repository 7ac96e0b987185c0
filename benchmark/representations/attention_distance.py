"""The mean distance over which the attention heads of a block read, in pixels of the input image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.backbones.vit import ViT


def patch_distances(grid: int, patch_pixels: float) -> Tensor:
    """Euclidean distances between the centres of the patches, (N, N) for N = grid * grid in row-major order, in pixels."""
    places = torch.cartesian_prod(torch.arange(grid), torch.arange(grid)).double() * patch_pixels
    return torch.cdist(places, places)


def mean_distance(attention: Tensor, distances: Tensor, prefix: int) -> Tensor:
    """The mean attention distance of each head (Dosovitskiy et al., ICLR 2021, figure 7; Raghu et al., NeurIPS 2021).

        sum over keys j of a_ij d_ij / sum over keys j of a_ij, averaged over images and queries i

    Queries and keys are patches: class tokens and registers have no place, so weights are divided by their sum over patches.

    Args:
        attention: weights after the softmax, (B, heads, P + N, P + N) for P prefix tokens.
        distances: of `patch_distances`, (N, N).
        prefix: P.

    Returns:
        (heads,), in the unit of the distances.
    """
    weights = attention[:, :, prefix:, prefix:]
    of_query = (weights * distances.to(weights)).sum(-1) / weights.sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)
    return of_query.mean(dim=(0, 2)).double()


def uniform_distance(distances: Tensor) -> float:
    """The mean distance of a head with equal weights on all patches, its own included."""
    return float(distances.mean())


def attention_refusal(backbone: BlockBackbone) -> str:
    """Why the attention weights of a backbone are not measured; empty if they are."""
    if type(backbone) is not ViT:
        return "attention distance is measured for ViT and DeiT only; other backbones attend in windows or rotate positions"
    if any(type(block.attn) is not Attention or block.attn.gate is not None for block in backbone.model.blocks):
        return "attention distance is measured for plain self-attention only"
    return ""


class AttentionWeights:
    """The attention weights of the block that ran last; ``values`` is (B, heads, P + N, P + N)."""

    values: Tensor

    def store(self, attention: Any, qkv: Tensor) -> None:
        """Softmax of the scaled products of queries and keys, which the fused kernel of timm's `Attention` keeps to itself."""
        batch, tokens, _ = qkv.shape
        shape = (batch, tokens, 3, attention.num_heads, attention.head_dim)
        queries, keys, _ = qkv.reshape(shape).permute(2, 0, 3, 1, 4)
        queries, keys = attention.q_norm(queries), attention.k_norm(keys)
        self.values = (attention.scale * queries @ keys.transpose(-2, -1)).softmax(-1)


@contextmanager
def recorded_attention(backbone: BlockBackbone) -> Iterator[AttentionWeights]:
    """Record the weights of each block as it runs, by hooks on the projections to queries, keys and values.

    Args:
        backbone: one for which `attention_refusal` is empty.
    """
    weights = AttentionWeights()

    def hook_of(attention: nn.Module) -> Any:
        return lambda _module, _inputs, output: weights.store(attention, output)

    hooks = [block.attn.qkv.register_forward_hook(hook_of(block.attn)) for block in backbone.model.blocks]
    try:
        yield weights
    finally:
        for hook in hooks:
            hook.remove()
