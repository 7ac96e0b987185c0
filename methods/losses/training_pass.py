"""What a loss reads: one forward pass in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.losses.terms import full
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
        total_steps: optimizer steps of the whole stage.
    """

    exit_heads: ExitHeads
    passed: BackbonePass
    labels: Tensor
    step: int = 0
    forward: int = 0
    label_smoothing: float = 0.0
    total_steps: int = 1

    @cached_property
    def outputs(self) -> ExitOutputs:
        return self.exit_heads(self.passed.tokens)

    @property
    def right(self) -> Tensor:
        """The right class of every image (B,); of a mixed one that with the largest share."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(-1)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(full(logits), self.labels, label_smoothing=self.label_smoothing)

    def gate_error(self) -> Tensor | None:
        """Squared error of the learned gates, mean over exits and batch; None where the heads have none.

        A gate predicts 1 where its exit's answer is wrong, 0 where it is right (BERxiT, Xin et al., EACL 2021). As there,
        gradients go through its input, and none through what is right.
        """
        if not any(head.gated for head in self.exit_heads.in_order):
            return None
        wrong = torch.stack([logits.detach().argmax(-1) != self.right for logits in self.outputs.logits])
        return F.mse_loss(full(torch.stack(self.outputs.errors)), wrong.float())

    def accuracy(self, answers: Iterable[Tensor]) -> Tensor:
        """Share of right answers, mean over several logits (B, num_classes)."""
        return torch.stack([logits.argmax(-1) == self.right for logits in answers]).float().mean()
