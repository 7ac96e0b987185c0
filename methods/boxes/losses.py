"""The loss of a detector: FCOS's assignment of boxes to cells, and its three terms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from methods.boxes.maps import BoxMaps, cell_centers

RADIUS = 1.5
"""Cells that are responsible for a box are at most this many cells from its centre, along each axis."""
IGNORED_BOX = -2
"""Class of ignored boxes in targets; `datasets.box_augment` makes them."""


@dataclass(frozen=True)
class Matches:
    """What each of N cells has to find in B images.

    Attributes:
        classes: int64 (B, N); -1 for no object, -2 for cells that do not count.
        boxes: (B, N, 4); of no meaning where there is no object.
    """

    classes: Tensor
    boxes: Tensor

    @property
    def positive(self) -> Tensor:
        """Whether there is an object, bool (B, N)."""
        return self.classes >= 0


def matched(targets: Tensor, grid: int) -> Matches:
    """Give every cell a box, or none.

    A cell is responsible for a box if its centre is within the box and less than 1.5 cells from the centre of the box along
    each axis; for the smallest of them if there are several. Cells with their centre in an ignored box that are responsible for
    no other do not count.

    Args:
        targets: class, left, top, right and bottom of M boxes an image, (B, M, 5); the class is -1 for rows without a box.
        grid: side of the patch grid.
    """
    centers = cell_centers(grid, targets.device)
    images, cells = len(targets), grid**2
    if not targets.shape[1]:
        no_class = torch.full((images, cells), -1, device=targets.device)
        return Matches(no_class, targets.new_zeros(images, cells, 4))
    classes, boxes = targets[..., 0].long(), targets[..., 1:]
    low, high = boxes[:, None, :, :2], boxes[:, None, :, 2:]
    at = centers[None, :, None]  # (1, N, 1, 2)
    is_inside = ((at > low) & (at < high)).all(-1)
    is_near = ((at - (low + high) / 2).abs() < RADIUS / grid).all(-1)
    fits = is_inside & is_near & (classes >= 0)[:, None]
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[:, None].expand_as(fits)
    smallest, which = areas.masked_fill(~fits, torch.inf).min(-1)
    is_ignored = (is_inside & (classes == IGNORED_BOX)[:, None]).any(-1)
    found = classes.gather(1, which).masked_fill(smallest == torch.inf, -1)
    found = torch.where((found < 0) & is_ignored, IGNORED_BOX, found)
    return Matches(found, boxes.gather(1, which[..., None].expand(-1, -1, 4)))


def image_losses(output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the three terms over each image's cells, (B,), and the number of its cells with an object, (B,).

    Sigmoid focal loss of all classes in all cells that count (alpha 0.25, gamma 2); generalised IoU loss of the boxes, and
    cross-entropy of the centerness with sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), in cells with an object.

    Args:
        output: of an exit, (B, C + 6, g, g).
        targets: as in `matched`.
    """
    maps = BoxMaps.of(output)
    matches = matched(targets, maps.grid)
    positive = matches.positive
    wanted = torch.zeros_like(maps.classes)
    wanted[positive] = F.one_hot(matches.classes[positive], wanted.shape[-1]).to(wanted.dtype)
    focal = sigmoid_focal_loss(maps.classes, wanted, alpha=0.25, gamma=2.0).sum(-1)
    sums = focal.masked_fill(matches.classes == IGNORED_BOX, 0.0).sum(1)
    image = positive.nonzero()[:, 0]
    boxes = matches.boxes[positive]
    wrong_boxes = generalized_box_iou_loss(maps.boxes[positive], boxes)
    centers = cell_centers(maps.grid, boxes.device).expand(len(output), -1, -1)[positive]
    wrong_centers = F.binary_cross_entropy_with_logits(
        maps.centerness[positive], centerness(centers, boxes), reduction="none"
    )
    return sums.index_add(0, image, wrong_boxes + wrong_centers), positive.sum(1)


def centerness(centers: Tensor, boxes: Tensor) -> Tensor:
    """How near points (M, 2) are to the middles of the boxes (M, 4) around them, in [0, 1], (M,)."""
    before, after = centers - boxes[:, :2], boxes[:, 2:] - centers
    return (torch.minimum(before, after) / torch.maximum(before, after)).prod(-1).sqrt()


def mean_loss(sums: Tensor, positives: Tensor) -> Tensor:
    """The loss of a batch from `image_losses`: their sum over the number of cells with an object, which is at least 1.

    Where several passes or ranks share a batch, each divides by the number of its own images' cells, as in torchvision.
    """
    return sums.sum() / positives.sum().clamp(min=1)


def loss_by_image(output: Tensor, targets: Tensor) -> Tensor:
    """The loss that each image would have alone, (B,)."""
    sums, positives = image_losses(output, targets)
    return sums / positives.clamp(min=1)
