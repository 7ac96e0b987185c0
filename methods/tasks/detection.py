"""Object detection: boxes of objects with their classes. The output of an exit is `methods.boxes.maps`, (B, C + 6, g, g).

Policies read a few numbers that summarise the maps. The metric is COCO's average precision, which follows from the boxes of all
images together, so scoring stores at most 100 boxes of each exit and image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.backbones.map_classifier import MapBackbone
from methods.boxes.decoding import Found, decode
from methods.boxes.losses import image_losses, loss_by_image, matched, mean_loss
from methods.boxes.maps import BoxMaps
from methods.heads.box_readout import BoxReadout, with_box_readout
from methods.heads.head import ExitHead
from methods.policies.box_signals import SIGNALS, box_signals
from methods.tasks.task import Task


class Detection(Task):
    """Labels are the class and the box of each object, (B, M, 5), as `datasets.box_augment.targets`.

    The outputs of two exits are not distilled: FCOS has no settled distillation, and its cells are of so different weight that
    a mean over all would be one over the ground.
    """

    answers_beside: ClassVar = True
    distils: ClassVar = False
    has_routers: ClassVar = True
    jumping_signals: ClassVar = {SIGNALS.index("agreement"): 1.0}

    def backbone(self, build: Any, architecture: Mapping[str, Any], classes: int) -> BlockBackbone:
        backbone = build(architecture, 0)
        return MapBackbone(backbone, BoxReadout(backbone.model.num_features, classes, nn.Identity(), routed=False))

    def head(
        self, cls: Any, dim: int, classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
    ) -> ExitHead:
        return with_box_readout(cls, dim, classes, grid, class_tokens, options)

    def cross_entropy(self, output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """FCOS's loss (`methods.boxes.losses`), which has no label smoothing."""
        return mean_loss(*image_losses(output, labels))

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        raise TypeError("the outputs of detectors are not distilled")

    def router_loss(
        self,
        heads: Sequence[ExitHead],
        outputs: Sequence[Tensor],
        final: Tensor,
        labels: Tensor,
        images: int | None = None,
    ) -> Tensor:
        """The mean loss of the routers of the early exits."""
        with torch.no_grad():
            of_final = loss_by_image(final, labels)
            own = [loss_by_image(output, labels) for output in outputs]
        losses = [
            head.classifier.router.loss(BoxMaps.of(output).router, loss, of_final, images)  # type: ignore[operator, union-attr]
            for head, output, loss in zip(heads, outputs, own, strict=True)
        ]
        return torch.stack(losses).mean()

    def is_right(self, output: Tensor, labels: Tensor) -> Tensor:
        """For every cell with an object, whether its most probable class is the object's; one 1 if there is no such cell."""
        maps = BoxMaps.of(output.detach())
        matches = matched(labels, maps.grid)
        right = (maps.classes.argmax(-1) == matches.classes)[matches.positive].float()
        return right if len(right) else right.new_ones(1)

    def answers(self, output: Tensor) -> Tensor:
        """Left, top, right, bottom, score and class of up to 100 boxes, -1 in the other rows; float32 (B, 100, 6)."""
        return torch.stack([found.rows() for found in decode(output)])

    def evidence(self, output: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
        return box_signals(output, previous, read)

    def detections(self, output: Tensor) -> list[Found]:
        return decode(output)
