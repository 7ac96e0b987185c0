"""Bringing the token map of a head to the patch grid, so that every patch gets an answer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Upsampling(nn.Module):
    """Bilinear resizing of coarse maps (B, C, g', g') to the patch grid, (B, C, g, g). A map of that size stays as it is.

    Each token keeps its place. Patches beyond the square that the tokens cover get the values of its edge.

    Args:
        grid: side g of the patch grid.
        covered: side of the square of patches, from the first one on, that the tokens cover; None for the whole grid.
        samples: whether tokens are samples of the map, so that the outermost ones lie on the outermost patches of that square.
            Otherwise each token stands for a square of patches of equal size, and lies in its middle.
    """

    def __init__(self, grid: int, covered: int | None = None, *, samples: bool = False) -> None:
        super().__init__()
        self.grid, self.samples = grid, samples
        self.covered = grid if covered is None else covered

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] == self.grid:
            return maps
        resized = F.interpolate(maps, (self.covered, self.covered), mode="bilinear", align_corners=self.samples)
        beyond = self.grid - self.covered
        return F.pad(resized, (0, beyond, 0, beyond), mode="replicate") if beyond else resized
