"""The interface through which everything sees a backbone: block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.tokens import Tokens

FinalNorm = Literal["final", "none", "plain"]
"""What stands before the final classifier: the backbone's own norm, nothing, or a LayerNorm without learned affine."""


class BlockBackbone(nn.Module, ABC):
    """A backbone that can stop after any block.

    Looping `block` over 1..depth and then `classify` is the backbone's ordinary forward pass (a contract test holds
    this to 1e-5 against timm for every registered backbone).

    Attributes:
        model: the timm model.
        depth: number of blocks.
    """

    model: Any
    depth: int

    @abstractmethod
    def embed(self, images: Tensor) -> Tokens:
        """Images (B, channels, H, W) to the input of block 1."""

    @abstractmethod
    def block(self, number: int, tokens: Tokens) -> Tokens:
        """The output of block ``number`` (1-based), before any final norm."""

    @abstractmethod
    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        """The final classifier: output of the last block to logits (B, num_classes)."""

    @abstractmethod
    def stage_end(self, number: int) -> int:
        """The last block whose output has the width and grid of that of block ``number``."""

    @abstractmethod
    def block_names(self) -> list[tuple[str, ...]]:
        """Of blocks 1..depth, the names of their modules below the `MultiExitModel` that holds this backbone."""

    @abstractmethod
    def classifier_names(self) -> list[str]:
        """Names, likewise, of the modules that `classify` runs."""

    def forward(self, images: Tensor) -> Tensor:
        """The backbone without exits: logits (B, num_classes)."""
        tokens = self.embed(images)
        for number in range(1, self.depth + 1):
            tokens = self.block(number, tokens)
        return self.classify(tokens)


def final_norm(module: nn.Module, values: Tensor, norm: FinalNorm) -> Tensor:
    """``values`` (..., C) behind ``module``, the backbone's final norm, or what stands in its place."""
    if norm == "final":
        return module(values)
    return values if norm == "none" else F.layer_norm(values, values.shape[-1:], eps=1e-5)


def with_norm(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """timm's keyword arguments, with ``norm_eps`` turned into the norm layer that has it."""
    arguments = dict(architecture)
    if "norm_eps" in arguments:
        arguments["norm_layer"] = partial(nn.LayerNorm, eps=arguments.pop("norm_eps"))
    return arguments
