"""Losses of exits that learn from a frozen backbone. Every term is returned raw, under its own name, beside the total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.heads.head import ExitHead
from methods.model import BackbonePass, ExitOutputs


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of softened class probabilities (B, num_classes), mean over the batch.

    Hinton et al., 2015 (arXiv 1503.02531), equation 3 and the T^2 factor of section 2.1. The official LGViT code divides
    by B x num_classes instead.
    """
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def channel_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of the softmax over channels of token maps (B, N, C), mean over batch and tokens.

    LGViT's heterogeneous term. The official code divides by B alone, which makes the value grow with the token count.
    """
    log_student = F.log_softmax(student, dim=-1).flatten(0, 1)
    log_teacher = F.log_softmax(teacher, dim=-1).flatten(0, 1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def gram_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """MSE of the channel Gram matrices F^T F / N of token maps (B, N, C), whose token counts may differ.

    LGViT's homogeneous term for GAHs. The official code leaves the division by N out.
    """

    def gram(feature: Tensor) -> Tensor:
        return feature.transpose(1, 2) @ feature / feature.shape[1]

    return F.mse_loss(gram(student), gram(teacher))


@dataclass(frozen=True, kw_only=True)
class SelfDistillation:
    """Cross-entropy and distillation from the deployed final exit, as means over the exits; optionally feature terms.

    total = (1 - weight) * mean CE + weight * mean KD + heterogeneous_weight * hete + homogeneous_weight * homo

    The feature terms are LGViT's (arXiv 2308.00255), normalised so that their size depends on neither the token count nor
    the number of exits: ``hete`` draws the first and the last head of each group towards the last block's tokens,
    ``homo`` draws the heads of a group towards its deepest head, which is detached.

    Attributes:
        weight: share of the distillation term.
        temperature: T of the distillation term.
        heterogeneous_weight: factor of ``hete``; 0 leaves it out.
        homogeneous_weight: factor of ``homo``; 0 leaves it out.
    """

    weight: float = 0.3
    temperature: float = 2.0
    heterogeneous_weight: float = 0.0
    homogeneous_weight: float = 0.0

    def __call__(
        self, heads: Sequence[ExitHead], outputs: ExitOutputs, teacher: BackbonePass, labels: Tensor
    ) -> dict[str, Tensor]:
        """The raw terms and ``total``, each a scalar. ``labels`` (B,) are class indices."""
        cross_entropy = torch.stack([F.cross_entropy(logits, labels) for logits in outputs.logits]).mean()
        soft = torch.stack([distillation(logits, teacher.logits, self.temperature) for logits in outputs.logits]).mean()
        terms = {"cross_entropy": cross_entropy, "distillation": soft}
        total = (1 - self.weight) * cross_entropy + self.weight * soft
        if self.heterogeneous_weight:
            terms["heterogeneous"] = self.heterogeneous(heads, outputs.features, teacher)
            total = total + self.heterogeneous_weight * terms["heterogeneous"]
        if self.homogeneous_weight:
            terms["homogeneous"] = self.homogeneous(heads, outputs.features)
            total = total + self.homogeneous_weight * terms["homogeneous"]
        return terms | {"total": total}

    def heterogeneous(self, heads: Sequence[ExitHead], features: Sequence[Tensor], teacher: BackbonePass) -> Tensor:
        """Mean `channel_divergence` of the first and last head of each group to the last block's patch tokens."""
        ends = sorted({i for members in _groups(heads).values() for i in (members[0], members[-1])})
        target = teacher.last.map
        return _mean([channel_divergence(features[i], heads[i].align(target)) for i in ends], like=target)

    def homogeneous(self, heads: Sequence[ExitHead], features: Sequence[Tensor]) -> Tensor:
        """Mean distance of each head's feature to that of the deepest head of its group."""
        distances = []
        for group, members in _groups(heads).items():
            deepest = features[members[-1]].detach()
            distance = F.mse_loss if group == "local" else gram_distance
            distances += [distance(features[i], deepest) for i in members[:-1]]
        return _mean(distances, like=features[0])


def _groups(heads: Sequence[ExitHead]) -> dict[str, list[int]]:
    """Group name to the indices of its heads, shallow to deep."""
    groups: dict[str, list[int]] = {}
    for i, head in enumerate(heads):
        if head.group is not None:
            groups.setdefault(head.group, []).append(i)
    return groups


def _mean(terms: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack(list(terms)).mean() if terms else like.new_zeros(())
