"""The terms that losses of exits are made of, as pure functions.

Each is a mean over the samples of a batch, so that passes and ranks that share a batch may weigh theirs by their samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of softened class probabilities (B, num_classes), mean over the batch.

    Hinton et al., 2015 (arXiv 1503.02531), equation 3 and the T^2 factor of section 2.1. The official LGViT code divides
    by B x num_classes instead.
    """
    log_student = F.log_softmax(full(student) / temperature, dim=-1)
    log_teacher = F.log_softmax(full(teacher) / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def channel_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of the softmax over channels of token maps (B, N, C), mean over batch and tokens.

    LGViT's heterogeneous term. The official code divides by B alone, which makes the value grow with the token count.
    """
    log_student = F.log_softmax(full(student), dim=-1).flatten(0, 1)
    log_teacher = F.log_softmax(full(teacher), dim=-1).flatten(0, 1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def gram_distance(student: Tensor, teacher: Tensor, *, per_token: bool = True) -> Tensor:
    """MSE of the channel Gram matrices F^T F / N of token maps (B, N, C), whose token counts may differ.

    LGViT's homogeneous term for GAHs. The official code leaves the division by N out (``per_token=False``).
    """

    def gram(feature: Tensor) -> Tensor:
        product = feature.transpose(1, 2) @ feature
        return product / feature.shape[1] if per_token else product

    with torch.autocast(student.device.type, enabled=False):  # sums over tokens leave the range of float16
        return F.mse_loss(gram(full(student)), gram(full(teacher)))


def full(values: Tensor) -> Tensor:
    """Float32 of what automatic mixed precision left in 16 bits; all else as it is."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def weighted_mean(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Sum of weight times value over the sum of weights."""
    stacked = torch.stack(list(values))
    factors = stacked.new_tensor(weights)
    return (factors * stacked).sum() / factors.sum()
