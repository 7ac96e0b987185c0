"""One object for what flows between blocks: (B, N, C) token sequences and (B, H, W, C) maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The output of a block.

    Attributes:
        values: (B, P + N, C) with P prefix tokens first and N = g * g patch tokens in row-major order, or (B, g, g, C)
            for backbones that keep the map (Swin), which have no prefix tokens.
        grid: g, the side of the patch grid.
        prefix: P: class tokens, then registers.
        registers: prefix tokens that no classifier reads.
    """

    values: Tensor
    grid: int
    prefix: int = 0
    registers: int = 0

    @property
    def class_tokens(self) -> Tensor:
        """(B, P - registers, C)."""
        return self.values[:, : self.prefix - self.registers]

    @property
    def patches(self) -> Tensor:
        """(B, N, C)."""
        return self.values.flatten(1, 2) if self.values.ndim == 4 else self.values[:, self.prefix :]

    @property
    def sequence(self) -> Tensor:
        """All tokens, (B, P + N, C)."""
        return self.values.flatten(1, 2) if self.values.ndim == 4 else self.values

    @property
    def map(self) -> Tensor:
        """(B, C, g, g), the layout of convolutions."""
        if self.values.ndim == 4:
            return self.values.permute(0, 3, 1, 2)
        return self.patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def detach(self) -> Tokens:
        return replace(self, values=self.values.detach())

    def select(self, keep: Tensor) -> Tokens:
        """The samples where the mask ``keep`` (B,) holds."""
        return replace(self, values=self.values[keep])
