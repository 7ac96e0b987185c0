"""The individual terms of the exit losses, as pure functions.

Each term is a mean over the samples of a batch. If several forward passes or ranks share a batch, weighting each pass's term
by its number of samples therefore gives the term of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the class probabilities at temperature T, averaged over the batch; logits (B, num_classes).

    Hinton et al., 2015 (arXiv 1503.02531), equation 3 and the T^2 factor of section 2.1. The official LGViT code divides
    by B x num_classes instead.
    """
    log_student = F.log_softmax(full(student) / temperature, dim=-1)
    log_teacher = F.log_softmax(full(teacher) / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def channel_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of softmax over channels, averaged over batch and tokens; token maps (B, N, C).

    LGViT's heterogeneous term. The official code divides by B only, so that its value grows with the number of tokens.
    """
    log_student = F.log_softmax(full(student), dim=-1).flatten(0, 1)
    log_teacher = F.log_softmax(full(teacher), dim=-1).flatten(0, 1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def gram_distance(student: Tensor, teacher: Tensor, *, per_token: bool = True) -> Tensor:
    """MSE between channel Gram matrices F^T F / N of two token maps (B, N, C), whose numbers of tokens N may differ.

    LGViT's homogeneous term for GAHs. The official code does not divide by N (``per_token=False``).
    """

    def gram(feature: Tensor) -> Tensor:
        product = feature.transpose(1, 2) @ feature
        return product / feature.shape[1] if per_token else product

    with torch.autocast(student.device.type, enabled=False):  # sums over tokens can overflow float16
        return F.mse_loss(gram(full(student)), gram(full(teacher)))


def full(values: Tensor) -> Tensor:
    """Convert bfloat16 and float16 values to float32; return other values unchanged."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def weighted_mean(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of weight times value, divided by the sum of the weights."""
    stacked = torch.stack(list(values))
    factors = stacked.new_tensor(weights)
    return (factors * stacked).sum() / factors.sum()
