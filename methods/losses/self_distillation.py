"""The loss for heads on a frozen backbone. Returns the unweighted terms by name and the weighted total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.backbones.backbone import FinalNorm
from methods.losses.terms import channel_divergence, full, gram_distance, weighted_mean
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads


@dataclass(frozen=True, kw_only=True)
class SelfDistillation:
    """Cross-entropy and distillation from the final exit, and LGViT's two feature terms (arXiv 2308.00255).

    total = (1 - weight) * CE + weight * KD + heterogeneous_weight * hete + homogeneous_weight * homo [+ gate error]

    ``hete`` compares the features of heads with tokens of the frozen backbone. ``homo`` compares the features of the heads
    in a group with that of the deepest head in the group. A group consists of heads of one kind (`ExitHead.group`: local or
    global) whose tokens have the same width and grid: the whole backbone for ViT, one stage for Swin. The backbone's
    tokens are the output of the last block with that width and grid. A head without a token map has no feature term. With
    the default options, the magnitude of a term does not depend on the number of tokens or exits.

    In a task whose outputs are not distilled (`methods.tasks.task.Task.distils`), the first two terms are CE alone.

    Attributes:
        weight: weight of the distillation term, in [0, 1].
        temperature: temperature T of the distillation term.
        heterogeneous_weight: weight of ``hete``; 0 removes the term.
        homogeneous_weight: weight of ``homo``; 0 removes the term.
        teacher_norm: norm before the final classifier when it is the teacher: ``final``: the backbone's final norm, as at
            inference; ``none``: no norm (the official code on ViT and DeiT); ``plain``: a LayerNorm without learned affine
            parameters (the official code on Swin).
        reduction: ``mean`` or ``sum`` over the exits, and over the terms of ``hete`` and ``homo``.
        exit_weights: weights of the exits in the mean cross-entropy: ``uniform``, ``depth`` (the block number) or
            ``depth-1`` (the block number minus 1).
        kd_divisor: the KD term is summed over batch and classes, then divided by the size of the ``batch`` or by the number of
            ``elements`` (batch size times number of classes).
        feature_divisor: ``tokens``: ``hete`` is a mean over tokens, and Gram matrices are divided by the number of tokens;
            ``none``: both are sums over tokens.
        detach_group_teacher: whether ``homo`` detaches the feature of the deepest head in a group.
        heterogeneous_exits: heads that ``hete`` compares: the first and last head of each group (``ends``) or ``all``.

    Raises:
        ValueError: ``weight`` or ``temperature`` is out of range, or ``reduction`` is ``sum`` with non-uniform
            ``exit_weights``.
    """

    weight: float = 0.3
    temperature: float = 2.0
    heterogeneous_weight: float = 0.0
    homogeneous_weight: float = 0.0
    teacher_norm: FinalNorm = "final"
    reduction: Literal["mean", "sum"] = "mean"
    exit_weights: Literal["uniform", "depth", "depth-1"] = "uniform"
    kd_divisor: Literal["batch", "elements"] = "batch"
    feature_divisor: Literal["tokens", "none"] = "tokens"
    detach_group_teacher: bool = True
    heterogeneous_exits: Literal["ends", "all"] = "ends"

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"self-distillation: weight must be between 0 and 1, not {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"self-distillation: temperature must be greater than 0, not {self.temperature}")
        if self.reduction == "sum" and self.exit_weights != "uniform":
            raise ValueError("self-distillation: exit_weights must be uniform if reduction is sum")

    def __call__(self, training: TrainingPass) -> dict[str, Tensor]:
        """The unweighted terms, ``accuracy`` and ``total``, each a scalar."""
        heads, outputs = training.exit_heads, training.outputs.logits
        weights = {
            "uniform": [1.0] * len(outputs),
            "depth": [float(block) for block in heads.exits],
            "depth-1": [block - 1.0 for block in heads.exits],
        }[self.exit_weights]
        losses = [training.cross_entropy(logits) for logits in outputs]
        entropy = torch.stack(losses).sum() if self.reduction == "sum" else weighted_mean(losses, weights)
        terms, total = {"cross_entropy": entropy}, entropy
        if training.task.distils:
            teacher = self._teacher(training)
            divisor = 1 if self.kd_divisor == "batch" else teacher.shape[1]
            terms["distillation"] = self._reduced(
                [training.distillation(logits, teacher, self.temperature) / divisor for logits in outputs], entropy
            )
            total = (1 - self.weight) * entropy + self.weight * terms["distillation"]
        terms["accuracy"] = training.accuracy(outputs)
        if self.heterogeneous_weight:
            terms["heterogeneous"] = self._reduced(self._heterogeneous(training), entropy)
            total = total + self.heterogeneous_weight * terms["heterogeneous"]
        if self.homogeneous_weight:
            terms["homogeneous"] = self._reduced(self._homogeneous(training), entropy)
            total = total + self.homogeneous_weight * terms["homogeneous"]
        gates = training.gate_terms()
        return terms | gates | {"total": sum(gates.values(), total)}

    def _teacher(self, training: TrainingPass) -> Tensor:
        """The teacher's logits (B, num_classes), without gradient."""
        passed = training.passed
        if self.teacher_norm == "final":
            return passed.logits.detach()
        with torch.no_grad():
            return passed.backbone.classify(passed.last, norm=self.teacher_norm)

    def _reduced(self, values: Sequence[Tensor], like: Tensor) -> Tensor:
        """Sum or mean of ``values``; if there are none, a zero with the dtype and device of ``like``."""
        if not values:
            return like.new_zeros(())
        stacked = torch.stack(list(values))
        return stacked.sum() if self.reduction == "sum" else stacked.mean()

    def _heterogeneous(self, training: TrainingPass) -> list[Tensor]:
        """`channel_divergence` of the selected heads from the tokens of the last block with the same width and grid."""
        heads, features = training.exit_heads, training.outputs.features
        groups = groups_of(heads).values()
        if self.heterogeneous_exits == "ends":
            selected = {i for members in groups for i in (members[0], members[-1])}
        else:
            selected = {i for members in groups for i in members}
        terms = []
        for i in sorted(selected):
            target = heads.in_order[i].align(training.passed.stage_end(heads.exits[i]).map)
            divergence = channel_divergence(features[i], target)
            terms.append(divergence if self.feature_divisor == "tokens" else divergence * target.shape[1])
        return terms

    def _homogeneous(self, training: TrainingPass) -> list[Tensor]:
        """The distance between each head's feature and the feature of the deepest head in its group."""
        heads, features, terms = training.exit_heads.in_order, training.outputs.features, []
        for members in groups_of(training.exit_heads).values():
            deepest = features[members[-1]]
            if self.detach_group_teacher:
                deepest = deepest.detach()
            for i in members[:-1]:
                if heads[i].group_distance == "mse":
                    terms.append(F.mse_loss(full(features[i]), full(deepest)))
                else:
                    terms.append(gram_distance(features[i], deepest, per_token=self.feature_divisor == "tokens"))
        return terms


def groups_of(heads: ExitHeads) -> dict[tuple[str, int, int], list[int]]:
    """Indices of the heads, from shallow to deep, by (group, width, grid). Heads without a group are omitted."""
    groups: dict[tuple[str, int, int], list[int]] = {}
    for i, head in enumerate(heads.in_order):
        if head.group is not None:
            groups.setdefault((head.group, head.dim, head.grid), []).append(i)
    return groups
