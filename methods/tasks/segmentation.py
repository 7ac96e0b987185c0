"""Semantic segmentation: one class for every pixel. The output of an exit is a map of logits (B, C, g, g), one for each patch.

Policies read a few numbers that summarise the map, because the whole map of every image would take too much space. The metric
is mIoU, which follows from counts that add up over images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.backbones.backbone import BlockBackbone
from methods.backbones.map_classifier import MapClassifier
from methods.heads.head import ExitHead
from methods.heads.map_readout import with_map_readout
from methods.losses.terms import full
from methods.policies.map_signals import map_signals
from methods.tasks.task import Task

IGNORED = 255
"""Label of pixels that count nowhere, as in PASCAL VOC."""
BOUNDARY = 0.02
"""Width of the boundary for boundary IoU as a share of the image's diagonal (Cheng et al., CVPR 2021)."""


class Segmentation(Task):
    """Labels are classes int64 (B, S, S) at the input size; 255 is ignored. Maps are resized bilinearly to the labels."""

    has_maps = True

    def backbone(self, build: Any, architecture: Mapping[str, Any], classes: int) -> BlockBackbone:
        return MapClassifier(build(architecture, 0), classes)

    def head(
        self, cls: Any, dim: int, classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
    ) -> ExitHead:
        return with_map_readout(cls, dim, classes, grid, class_tokens, options)

    def cross_entropy(self, output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        logits = _resized(full(output), labels.shape[-2:])
        labelled = (labels != IGNORED).sum().clamp(min=1)  # a batch without labelled pixels has a loss of 0
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum")
        return losses / labelled

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The mean over patches, not over pixels: both maps have the resolution of the patches."""
        log_student = F.log_softmax(full(student) / temperature, dim=1)
        log_teacher = F.log_softmax(full(teacher) / temperature, dim=1)
        divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)
        return temperature**2 * divergence.mean()

    def is_right(self, output: Tensor, labels: Tensor) -> Tensor:
        """For every labelled pixel."""
        predicted = _resized(output.detach(), labels.shape[-2:]).argmax(1)
        return (predicted == labels)[labels != IGNORED].float()

    def answers(self, output: Tensor) -> Tensor:
        return output.argmax(1)

    def evidence(self, output: Tensor, previous: Tensor | None) -> Tensor:
        return map_signals(output.float(), None if previous is None else previous.float())

    def counts(self, output: Tensor, masks: Sequence[Tensor]) -> Tensor:
        return torch.stack([image_counts(one, mask) for one, mask in zip(output.float(), masks, strict=True)])


def image_counts(logits: Tensor, mask: Tensor) -> Tensor:
    """True positives, false positives and false negatives of each class, of all pixels and of boundary pixels, int32 (C, 6).

    Args:
        logits: of one image, (C, g, g).
        mask: its labelled classes, uint8 (H, W); pixels of 255 are left out.

    The boundary of a class is its region less the region eroded by a 3x3 square, n times with n = 2 % of the image's diagonal,
    at least once; the image's border counts as boundary (Cheng et al., Boundary IoU, CVPR 2021).
    """
    mask = mask.to(logits.device)
    predicted, valid = _resized(logits[None], mask.shape)[0].argmax(0), mask != IGNORED
    counts = logits.new_zeros((len(logits), 6), dtype=torch.int32)
    present = torch.unique(torch.cat([predicted[valid], mask[valid].long()]))
    if not len(present):
        return counts
    classes = present[:, None, None]
    regions = torch.stack([(predicted == classes) & valid, (mask == classes) & valid])  # (2, present classes, H, W)
    width = max(1, round(BOUNDARY * float(mask.shape[0] ** 2 + mask.shape[1] ** 2) ** 0.5))
    for start, (answer, truth) in ((0, regions), (3, boundaries(regions, width))):
        columns = [answer & truth, answer & ~truth, truth & ~answer]
        counts[present, start : start + 3] = torch.stack([column.sum((1, 2)) for column in columns], 1).int()
    return counts


def boundaries(regions: Tensor, width: int) -> Tensor:
    """The pixels of bool regions (..., H, W) that ``width`` erosions by a 3x3 square remove."""
    outside = (~regions).flatten(0, -3).float()
    outside = F.pad(outside, (width,) * 4, value=1.0)
    for _ in range(width):
        outside = F.max_pool2d(outside, 3, stride=1)
    return regions & outside.bool().view_as(regions)


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Maps of logits (B, C, g, g) at another size, bilinear."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
