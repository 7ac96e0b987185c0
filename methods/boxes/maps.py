"""The output of a detector at an exit: one tensor, in which every cell of the patch grid has the same channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.losses.terms import full

BESIDE_CLASSES = 6
"""Channels beside those of the C classes: four distances, centerness, and the router."""


@dataclass(frozen=True)
class BoxMaps:
    """The parts of an output (B, C + 6, g, g), in float32; N = g * g cells in row-major order.

    Attributes:
        classes: logits, (B, N, C).
        distances: from the centre of the cell to the left, top, right and bottom of its box, in sides of a cell, (B, N, 4).
        centerness: logits, (B, N).
        router: logit that the image is easy, (B,); 0 at an exit without a router.
    """

    classes: Tensor
    distances: Tensor
    centerness: Tensor
    router: Tensor

    @classmethod
    def of(cls, output: Tensor) -> BoxMaps:
        cells = full(output).flatten(2).transpose(1, 2)
        classes, distances, centerness, router = cells.split([cells.shape[2] - BESIDE_CLASSES, 4, 1, 1], dim=2)
        return cls(classes, distances, centerness[..., 0], router[:, 0, 0])

    @property
    def grid(self) -> int:
        """g."""
        return round(self.classes.shape[1] ** 0.5)

    @property
    def boxes(self) -> Tensor:
        """Left, top, right and bottom, which may be outside the image, (B, N, 4)."""
        centers = cell_centers(self.grid, self.distances.device)
        return torch.cat(
            [centers - self.distances[..., :2] / self.grid, centers + self.distances[..., 2:] / self.grid], -1
        )

    @property
    def scores(self) -> Tensor:
        """The geometric mean of the probability of each class and the centerness, (B, N, C)."""
        return (self.classes.sigmoid() * self.centerness.sigmoid()[..., None]).sqrt()


def cell_centers(grid: int, device: torch.device) -> Tensor:
    """x and y of the middle of every cell, (N, 2)."""
    middles = (torch.arange(grid, device=device) + 0.5) / grid
    rows, columns = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1)
