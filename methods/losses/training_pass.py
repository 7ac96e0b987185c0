"""What a loss reads: one forward pass in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.model import BackbonePass, ExitHeads, ExitOutputs


@dataclass(frozen=True)
class TrainingPass:
    """A batch behind the backbone; the heads run when a loss first asks for `outputs`.

    Attributes:
        exit_heads: the heads in training.
        passed: the backbone's pass; without gradients where the backbone is frozen.
        labels: class indices (B,), or shares of the classes (B, num_classes) where Mixup or CutMix mixed the images.
        step: number of the optimizer step, 0-based.
        forward: number of the forward pass, 0-based; differs from ``step`` where gradients are accumulated.
        label_smoothing: of every cross-entropy.
    """

    exit_heads: ExitHeads
    passed: BackbonePass
    labels: Tensor
    step: int = 0
    forward: int = 0
    label_smoothing: float = 0.0

    @cached_property
    def outputs(self) -> ExitOutputs:
        return self.exit_heads(self.passed.tokens)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.labels, label_smoothing=self.label_smoothing)

    def accuracy(self, answers: Iterable[Tensor]) -> Tensor:
        """Share of right answers, mean over several logits (B, num_classes); of a mixed image its largest share is right."""
        right = self.labels if self.labels.ndim == 1 else self.labels.argmax(-1)
        return torch.stack([logits.argmax(-1) == right for logits in answers]).float().mean()
