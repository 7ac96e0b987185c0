"""The input of a loss: the results of one forward pass in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.losses.terms import full
from methods.model import BackbonePass, ExitHeads, ExitOutputs
from methods.tasks.task import Task


@dataclass(frozen=True)
class TrainingPass:
    """One batch after the backbone's forward pass. The heads run when a loss first accesses `outputs`.

    Attributes:
        task: computes cross-entropy, distillation and accuracy.
        exit_heads: the heads in training.
        passed: the outputs of the backbone; without gradients if the backbone is frozen.
        labels: of the batch, as its task defines them.
        step: index of the optimizer step, 0-based.
        forward: index of the forward pass, 0-based; differs from ``step`` if gradients are accumulated.
        label_smoothing: label smoothing of every cross-entropy.
        total_steps: number of optimizer steps in the stage.
        images: number of images of the pass over all processes that train together; None if this one has all.
    """

    task: Task
    exit_heads: ExitHeads
    passed: BackbonePass
    labels: Tensor
    step: int = 0
    forward: int = 0
    label_smoothing: float = 0.0
    total_steps: int = 1
    images: int | None = None

    @cached_property
    def outputs(self) -> ExitOutputs:
        """The outputs of the early exits."""
        return self.exit_heads(self.passed.tokens)

    @property
    def targets(self) -> Tensor:
        """The correct class of each image (B,); for a mixed image, the class with the largest probability."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(-1)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Cross-entropy of the output of an exit, averaged over the batch."""
        return self.task.cross_entropy(logits, self.labels, self.label_smoothing)

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Distillation term between the outputs of two exits, averaged over the batch."""
        return self.task.distillation(student, teacher, temperature)

    def gate_error(self) -> Tensor | None:
        """Squared error of the learned gates, averaged over exits and batch; None if the heads have no gates.

        The target of a gate is 1 if its exit's prediction is wrong and 0 if it is correct (BERxiT, Xin et al., EACL 2021).
        As in the original, gradients flow through the gate's input but not through the target.
        """
        if not any(head.gated for head in self.exit_heads.in_order):
            return None
        wrong = torch.stack([logits.detach().argmax(-1) != self.targets for logits in self.outputs.logits])
        return F.mse_loss(full(torch.stack(self.outputs.errors)), wrong.float())

    def gate_terms(self, *, routers: bool = True) -> dict[str, Tensor]:
        """The losses of learned gates by name, which losses add to their own terms; empty if the heads have none.

        Args:
            routers: whether those of a task's routers are among them.
        """
        error, terms = self.gate_error(), {}
        if error is not None:
            terms["gate_error"] = error
        if self.task.has_routers and routers:
            terms["router"] = self.task.router_loss(
                self.exit_heads.in_order, self.outputs.logits, self.passed.logits, self.labels, self.images
            )
        return terms

    def accuracy(self, exit_logits: Iterable[Tensor]) -> Tensor:
        """Share of right answers, averaged over the outputs of several exits."""
        return torch.stack([self.task.is_right(logits, self.labels) for logits in exit_logits]).mean()
