"""Classification: one class for an image. The output of an exit is its logits (B, C), which policies read as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from methods.backbones.backbone import BlockBackbone
from methods.heads.head import ExitHead
from methods.losses.terms import distillation, full
from methods.tasks.task import Task


class Classification(Task):
    """Labels are class indices (B,), or class probabilities (B, C) if Mixup or CutMix mixed the images."""

    def backbone(self, build: Any, architecture: Mapping[str, Any], classes: int) -> BlockBackbone:
        backbone: BlockBackbone = build(architecture, classes)
        return backbone

    def head(
        self, cls: Any, dim: int, classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
    ) -> ExitHead:
        head: ExitHead = cls(dim, classes, grid, class_tokens, **options)
        return head

    def cross_entropy(self, output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(full(output), labels, label_smoothing=label_smoothing)

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return distillation(student, teacher, temperature)

    def is_right(self, output: Tensor, labels: Tensor) -> Tensor:
        targets = labels if labels.ndim == 1 else labels.argmax(-1)
        return (output.argmax(-1) == targets).float()

    def answers(self, output: Tensor) -> Tensor:
        return output.argmax(-1)

    def evidence(self, output: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
        return output.float()
