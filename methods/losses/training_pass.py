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
        labels: class indices (B,).
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
        """Share of right answers, mean over several logits (B, num_classes)."""
        return torch.stack([logits.argmax(-1) == self.labels for logits in answers]).float().mean()
