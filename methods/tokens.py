"""The output of a backbone block: a token sequence (B, N, C) or a feature map (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import torch
from torch import Tensor

PADDING = -1
"""Position of a token that only fills up a batch."""
BY_SAMPLE = ("values", "sizes", "images", "positions", "canvas", "left", "lengths")
"""Fields of `Tokens` whose first axis is the batch."""


@dataclass(frozen=True)
class Tokens:
    """The output of a block.

    Attributes:
        values: (B, P + N, C): P prefix tokens, then N = g * g patch tokens in row-major order. For Swin, (B, g, g, C)
            without prefix tokens.
        grid: side length g of the patch grid; 0 for tokens that have none, because some were removed.
        prefix: number P of prefix tokens: class tokens first, then registers.
        registers: number of prefix tokens that no classifier reads.
        rotary: rotary positions that the blocks also read, the same for all images; None for backbones without.
        sizes: float32 (B, P + N), number of original tokens in each merged token; None if none is merged.
        images: (B, channels, H, W), for a backbone that reads the images again in a later block; None for all others.
        positions: int64 (B, N), place in the whole patch grid of each patch token, -1 for padding; None while all are there.
        canvas: (B, g * g, num_classes), logits of the patches whose tokens have left, NaN for the others; None likewise.
        left: uint8 (B, g * g), exit at which the token of each patch left, 0-based; the number of exits for those that have not
            left. None where tokens do not leave.
        lengths: int32 (B, blocks so far), number of tokens on which each block ran, where images differ in it; None elsewhere.
    """

    values: Tensor
    grid: int
    prefix: int = 0
    registers: int = 0
    rotary: Tensor | None = None
    sizes: Tensor | None = None
    images: Tensor | None = None
    positions: Tensor | None = None
    canvas: Tensor | None = None
    left: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def class_tokens(self) -> Tensor:
        """Class tokens, (B, P - registers, C)."""
        return self.values[:, : self.prefix - self.registers]

    @property
    def patches(self) -> Tensor:
        """Patch tokens, (B, N, C)."""
        return self.values.flatten(1, 2) if self.values.ndim == 4 else self.values[:, self.prefix :]

    @property
    def sequence(self) -> Tensor:
        """All tokens, (B, P + N, C)."""
        return self.values.flatten(1, 2) if self.values.ndim == 4 else self.values

    @property
    def map(self) -> Tensor:
        """Patch tokens as a map (B, C, g, g), the layout of convolutions."""
        if self.values.ndim == 4:
            return self.values.permute(0, 3, 1, 2)
        if not self.grid:
            raise ValueError("these tokens have no grid, because some were removed")
        return self.patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def completed(self, logits: Tensor) -> Tensor:
        """The logits (B, num_classes, g, g) of all patches, from those of these tokens, (B, N, num_classes), and the canvas."""
        if self.positions is None or self.canvas is None:
            return logits.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        side = isqrt(self.canvas.shape[1])
        whole = written(self.canvas, self.positions, logits, self.positions != PADDING)
        return whole.transpose(1, 2).unflatten(2, (side, side))

    def detach(self) -> Tokens:
        return replace(self, values=self.values.detach())

    def select(self, keep: Tensor) -> Tokens:
        """The tokens of the samples whose entry in the bool mask ``keep`` (B,) is True, without padding that none needs."""
        tensors: dict[str, Any] = {name: getattr(self, name) for name in BY_SAMPLE}
        kept = replace(self, **{name: tensor[keep] for name, tensor in tensors.items() if tensor is not None})
        if kept.positions is None:
            return kept
        most = int((kept.positions != PADDING).any(0).sum())  # padding comes last
        return replace(kept, values=kept.values[:, : self.prefix + most], positions=kept.positions[:, :most])

    @staticmethod
    def joined(parts: Sequence[Tokens]) -> Tokens:
        """The tokens of the samples of several batches after the same block.

        Raises:
            ValueError: tokens have left, so that batches differ in the tokens that they have.
        """
        if any(part.positions is not None for part in parts):
            raise ValueError("batches from which tokens have left cannot be joined")
        others = {name: [getattr(part, name) for part in parts] for name in BY_SAMPLE}
        joined: dict[str, Any] = {
            name: torch.cat(tensors) for name, tensors in others.items() if tensors[0] is not None
        }
        return replace(parts[0], **joined)


def written(canvas: Tensor, positions: Tensor, logits: Tensor, which: Tensor) -> Tensor:
    """A copy of a canvas (B, g * g, C) with the ``logits`` (B, N, C) of the tokens in the bool mask ``which`` (B, N)."""
    image, token = which.nonzero(as_tuple=True)
    return canvas.index_put((image, positions[image, token]), logits[image, token].to(canvas.dtype))
