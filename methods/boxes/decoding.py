"""The boxes that an exit finds in an image, and how well those of two exits agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from methods.boxes.maps import BoxMaps

LEAST_SCORE = 0.05
CANDIDATES = 1000
OVERLAP = 0.6
MOST = 100
THIN = 1e-6
"""Boxes of this width or height, or less, count as empty: in pixels, float32 could not tell their sides apart."""
SAME = 0.5
"""Least IoU of two boxes that stand for the same object."""


@dataclass(frozen=True)
class Found:
    """Boxes in order of falling scores.

    Attributes:
        boxes: left, top, right and bottom as shares of the sides of the image, (M, 4).
        scores: (M,).
        labels: class indices, int64 (M,).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def rows(self) -> Tensor:
        """One row for each box, and rows of -1 up to `MOST`: left, top, right, bottom, score, class; (100, 6)."""
        columns = torch.cat([self.boxes, self.scores[:, None], self.labels[:, None].to(self.scores.dtype)], 1)
        return torch.cat([columns, columns.new_full((MOST - len(columns), 6), -1.0)])


def decode(output: Tensor, least_score: float = LEAST_SCORE) -> list[Found]:
    """The boxes of each of B images, at most 100.

    Of the classes in all cells, those with a score above ``least_score``, and of these the best 1,000; boxes are clipped to the
    image, and empty ones left out; of boxes of one class with an IoU above 0.6 only the best stays.

    Args:
        output: of an exit, (B, C + 6, g, g).
        least_score: of a box.
    """
    maps = BoxMaps.of(output)
    return [_decode_one(*image, least_score) for image in zip(maps.scores, maps.boxes.clamp(0, 1), strict=True)]


def _decode_one(scores: Tensor, boxes: Tensor, least_score: float) -> Found:
    """Of one image with scores (N, C) and boxes (N, 4)."""
    cells, labels = (scores > least_score).nonzero(as_tuple=True)
    best, order = scores[cells, labels].sort(descending=True, stable=True)
    best, order = best[:CANDIDATES], order[:CANDIDATES]
    corners, labels = boxes[cells[order]], labels[order]
    is_box = (corners[:, 2:] - corners[:, :2] > THIN).all(1)
    corners, best, labels = corners[is_box], best[is_box], labels[is_box]
    apart = corners.double() + 2.0 * labels[:, None]  # boxes of two classes do not overlap
    kept = nms(apart, best.double(), OVERLAP)[:MOST]
    return Found(corners[kept], best[kept], labels[kept])


def agreement(one: Found, other: Found) -> float:
    """F1 of the boxes of ``one`` against those of ``other``, in [0, 1]; 1 if both are empty.

    In order of falling scores, each box of ``one`` is matched to the box of its class in ``other`` with the largest IoU, at
    least 0.5, that is not yet taken.
    """
    if not len(one.scores) or not len(other.scores):
        return float(len(one.scores) == len(other.scores))
    overlaps = box_iou(one.boxes, other.boxes).masked_fill(one.labels[:, None] != other.labels, 0.0).tolist()
    taken: set[int] = set()
    for row in overlaps:
        free = [(overlap, -j) for j, overlap in enumerate(row) if overlap >= SAME and j not in taken]
        if free:
            taken.add(-max(free)[1])
    return 2 * len(taken) / (len(one.scores) + len(other.scores))
