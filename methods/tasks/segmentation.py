"""Semantic segmentation: one class for every pixel. The output of an exit is a map of logits (B, C, g, g), one for each patch.

Policies read a few numbers that summarise the map, because the whole map of every image would take too much space. The metric
is mIoU, which follows from counts that add up over images.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.backbones.backbone import BlockBackbone
from methods.backbones.map_classifier import MapClassifier
from methods.heads.head import ExitHead
from methods.heads.map_readout import with_map_readout
from methods.losses.terms import full
from methods.policies.map_signals import SIGNALS, map_signals
from methods.tasks.task import Task

IGNORED = 255
"""Label of pixels that count nowhere, as in PASCAL VOC."""
NOWHERE, OUTSIDE = -1, -2
"""In place of a class: where a pixel counts nowhere, and beyond the border of an image."""
MAX_LOGITS = 2**25
"""Logits at the size of the masks that are in memory together."""
JUMP = 0.05
"""Of a share of patches: more of them are not within a rounding error of a bound."""
BOUNDARY = 0.02
"""Width of the boundary for boundary IoU as a share of the image's diagonal (Cheng et al., CVPR 2021)."""


class Segmentation(Task):
    """Labels are classes int64 (B, S, S) at the input size; 255 is ignored. Maps are resized bilinearly to the labels."""

    answers_beside = True
    jumping_signals: ClassVar = {i: JUMP for i, name in enumerate(SIGNALS) if name == "agreement" or "share" in name}

    def backbone(self, build: Any, architecture: Mapping[str, Any], classes: int) -> BlockBackbone:
        backbone = build(architecture, 0)
        readout = nn.Linear(backbone.model.num_features, classes)
        nn.init.trunc_normal_(readout.weight, std=0.02)
        nn.init.zeros_(readout.bias)
        return MapClassifier(backbone, readout)

    def head(
        self, cls: Any, dim: int, classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
    ) -> ExitHead:
        return with_map_readout(cls, dim, classes, grid, class_tokens, options)

    def cross_entropy(self, output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        logits = _resized(full(output), labels.shape[-2:])
        labelled = (labels != IGNORED).sum().clamp(min=1)  # a batch without labelled pixels has a loss of 0
        # Summed here, because on a GPU torch's own sum over pixels is not deterministic, and refused by `set_up_torch`.
        losses = F.cross_entropy(
            logits, labels, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="none"
        )
        return losses.sum() / labelled

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The mean over patches, not over pixels: both maps have the resolution of the patches."""
        log_student = F.log_softmax(full(student) / temperature, dim=1)
        log_teacher = F.log_softmax(full(teacher) / temperature, dim=1)
        divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)
        return temperature**2 * divergence.mean()

    def is_right(self, output: Tensor, labels: Tensor) -> Tensor:
        """For every labelled pixel; one 1 if there is no such pixel."""
        predicted = _resized(output.detach(), labels.shape[-2:]).argmax(1)
        right = (predicted == labels)[labels != IGNORED].float()
        return right if len(right) else right.new_ones(1)

    def answers(self, output: Tensor) -> Tensor:
        return output.argmax(1)

    def evidence(self, output: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
        return map_signals(output.float(), None if previous is None else previous.float(), read)

    def counts(self, output: Tensor, masks: Sequence[Tensor]) -> Tensor:
        counts = output.new_zeros((len(masks), output.shape[1], 6), dtype=torch.int32)
        for images in _of_one_size(masks, output.shape[1]):
            counts[images] = pixel_counts(output[images].float(), torch.stack([masks[i] for i in images]))
        return counts


def pixel_counts(logits: Tensor, masks: Tensor) -> Tensor:
    """True positives, false positives and false negatives of each class, of all pixels and of boundary pixels.

    Args:
        logits: of images, (B, C, g, g).
        masks: their labelled classes, uint8 (B, H, W); pixels of 255 are left out.

    Returns:
        int32 (B, C, 6).

    The boundary of a class is its region less the region eroded by a 3x3 square, n times with n = 2 % of the image's diagonal,
    at least once; the image's border counts as boundary (Cheng et al., Boundary IoU, CVPR 2021). As in the authors' code, the
    boundaries of answers are those of the whole map, and pixels without a label are left out afterwards: along an ignored
    contour the label has a boundary, and an answer only where its class changes.
    """
    masks, classes = masks.to(logits.device), logits.shape[1]
    left_out = masks == IGNORED
    predicted = _resized(logits, masks.shape[1:]).argmax(1)
    labelled = masks.long().masked_fill(left_out, NOWHERE)
    width = max(1, round(BOUNDARY * float(masks.shape[1] ** 2 + masks.shape[2] ** 2) ** 0.5))
    region, edge = (answer.masked_fill(left_out, NOWHERE) for answer in (predicted, boundaries(predicted, width)))
    columns = []
    for answer, truth in ((region, labelled), (edge, boundaries(labelled, width))):
        right = _sums(answer.where(answer == truth, NOWHERE), classes)
        columns += [right, _sums(answer, classes) - right, _sums(truth, classes) - right]
    return torch.stack(columns, -1).int()


def boundaries(classes: Tensor, width: int) -> Tensor:
    """The boundaries of all regions of class maps int64 (B, H, W); -1 elsewhere.

    ``width`` erosions by a 3x3 square leave the pixels of a region whose square of side 2 width + 1 lies within it.
    """
    padded = F.pad(classes[:, None].float(), (width,) * 4, value=OUTSIDE)
    side = 2 * width + 1
    largest, smallest = (
        F.max_pool2d(F.max_pool2d(sign * padded, (side, 1), stride=1), (1, side), stride=1)[:, 0] * sign
        for sign in (1, -1)
    )
    return classes.masked_fill(largest == smallest, NOWHERE)


def _sums(classes: Tensor, count: int) -> Tensor:
    """Number of pixels of each class in class maps int64 (B, H, W) without those of -1, (B, count)."""
    first = count * torch.arange(len(classes), device=classes.device)[:, None, None]
    return torch.bincount((classes + first)[classes != NOWHERE], minlength=len(classes) * count).view(-1, count)


def _of_one_size(masks: Sequence[Tensor], classes: int) -> Iterator[list[int]]:
    """Positions of masks of one size, as many together as `MAX_LOGITS` allows for their images."""
    sizes: dict[torch.Size, list[int]] = {}
    for i, mask in enumerate(masks):
        sizes.setdefault(mask.shape, []).append(i)
    for size, images in sizes.items():
        together = max(1, MAX_LOGITS // (classes * size.numel()))
        yield from (images[start : start + together] for start in range(0, len(images), together))


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Maps of logits (B, C, g, g) at another size, bilinear."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
