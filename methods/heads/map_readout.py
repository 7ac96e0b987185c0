"""Exit heads that classify every patch: the token map of a head, then one linear classifier for each token."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from methods.heads.head import ExitHead
from methods.heads.linear import LinearHead
from methods.heads.mlp import MLPHead
from methods.heads.upsampling import Upsampling
from methods.tokens import Tokens


class MapReadout(nn.Module):
    """LayerNorm and one Linear on each token of a map, then bilinear resizing to the patch grid where the map is coarser.

    As the linear decoder of Segmenter (Strudel et al., ICCV 2021), with a norm, because the scale of tokens differs by block.
    """

    def __init__(self, dim: int, num_classes: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.linear = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, feature: Tensor, class_tokens: Tensor | None = None) -> Tensor:
        """Map square maps of tokens (B, N', C) to logits (B, num_classes, g, g). Class tokens are not read."""
        side = isqrt(feature.shape[1])
        return self.upsampling(self.each(feature).transpose(1, 2).unflatten(2, (side, side)))

    def each(self, feature: Tensor) -> Tensor:
        """Map any tokens (B, M, C) to their logits (B, M, num_classes)."""
        return self.linear(self.norm(feature))


class LinearMapHead(ExitHead):
    """`MapReadout` on the patch tokens themselves: the counterpart of a linear classifier on the class token."""

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.classifier = MapReadout(dim, num_classes, self.upsampling())

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if tokens.positions is not None:  # some tokens have left with their answers
            return tokens.completed(self.each(tokens.patches)), tokens.patches
        return self.classifier(tokens.patches), tokens.patches

    def each(self, patches: Tensor) -> Tensor:
        """Map any patch tokens (B, M, C) to their logits (B, M, num_classes)."""
        return self.classifier.each(patches)


class MLPMapHead(ExitHead):
    """LayerNorm, Linear and GELU on each patch token, then `MapReadout`. The feature is the hidden layer."""

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int, *, hidden_ratio: float = 1.0) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        hidden = int(dim * hidden_ratio)
        if hidden < 1:
            raise ValueError(f"mlp: hidden_ratio {hidden_ratio} leaves no hidden unit at width {dim}")
        self.norm = nn.LayerNorm(dim)
        self.hidden = nn.Linear(dim, hidden)
        self.reset_parameters()
        self.classifier = MapReadout(hidden, num_classes, self.upsampling())

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        feature = F.gelu(self.hidden(self.norm(tokens.patches)))
        return self.classifier(feature), feature


INSTEAD: dict[type[ExitHead], type[ExitHead]] = {LinearHead: LinearMapHead, MLPHead: MLPMapHead}
"""Heads on class tokens, and their counterparts on patch tokens."""


def with_map_readout(
    cls: type[ExitHead], dim: int, num_classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
) -> ExitHead:
    """A head of class ``cls`` whose classifier labels every patch. The arguments are those of `ExitHead`.

    Raises:
        ValueError: the head has neither a token map nor a counterpart that has one, or not with these options.
    """
    try:
        head: Any = INSTEAD.get(cls, cls)(dim, num_classes, grid, class_tokens, **options)
    except TypeError:
        raise ValueError(f"{cls.__name__} has no form for maps with the options {', '.join(options)}") from None
    if cls in INSTEAD:
        return head
    if cls.group is None:
        raise ValueError(f"{cls.__name__} has no token map, from which every patch could be labelled")
    head.classifier = MapReadout(dim, num_classes, head.upsampling())
    return head
