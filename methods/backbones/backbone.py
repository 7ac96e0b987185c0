"""The interface through which everything sees a backbone: block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from methods.tokens import Tokens


class BlockBackbone(nn.Module, ABC):
    """A backbone that can stop after any block.

    Looping `block` over 1..depth and then `classify` is the backbone's ordinary forward pass (a contract test holds
    this to 1e-5 against timm for every registered backbone).
    """

    depth: int

    @abstractmethod
    def embed(self, images: Tensor) -> Tokens:
        """Images (B, channels, H, W) to the input of block 1."""

    @abstractmethod
    def block(self, number: int, tokens: Tokens) -> Tokens:
        """The output of block ``number`` (1-based), before any final norm."""

    @abstractmethod
    def classify(self, tokens: Tokens) -> Tensor:
        """The final classifier: output of the last block to logits (B, num_classes)."""

    @abstractmethod
    def block_names(self) -> list[str]:
        """Names, below the `MultiExitModel` that holds this backbone, of the modules of blocks 1..depth."""

    @abstractmethod
    def classifier_names(self) -> list[str]:
        """Names, likewise, of the modules that `classify` runs."""

    def forward(self, images: Tensor) -> Tensor:
        """The backbone without exits: logits (B, num_classes)."""
        tokens = self.embed(images)
        for number in range(1, self.depth + 1):
            tokens = self.block(number, tokens)
        return self.classify(tokens)
