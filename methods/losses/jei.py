"""The loss of JEI-DNN (Regol et al., ICLR 2024, arXiv 2310.09163): heads and gates in turns, after a warm-up of the heads.

Written from the formulas; networkslab/dynn was read at commit 8dd598d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.heads.jei import JEIHead
from methods.losses.terms import full
from methods.losses.training_pass import TrainingPass

LARGEST_WEIGHT = 5.0
"""Largest weight of a gate's positive targets."""


@dataclass(frozen=True, kw_only=True)
class JEILoss:
    """Trains `JEIHead`s on a frozen backbone.

    - Warm-up: the cross-entropies of the exits, shallow to deep, weighted G + 1, G, ..., 2 for G exits.
    - Then ``interval`` optimizer steps of the gates, ``interval`` steps of the heads, and so on.
    - Gates: `gate_targets`; binary cross-entropy, whose positive targets weigh min(5, (n - m) / m) if m of n images stop there.
    - Heads: the mean over images and exits of P * L * ratio, with L the cross-entropy of an exit, P `exit_probabilities` and
      ratio = sum(L) / sum(P * L) over the exits of an image.

    In the authors' code a warm-up ends head by head at the best val accuracy, the turns begin anew in each epoch, and the
    weights of positive targets are counted on val. Training here does not read val: the warm-up is a share of the steps, and
    the weights follow the images of the forward pass. Costs are the share of the blocks before an exit.

    Attributes:
        tradeoff: lambda, the weight of an exit's cost in the targets of the gates.
        weighting: ``detached``: the ratio has no gradient, so that the gates weigh the exits, as the paper describes.
            ``uniform``: the mean of L, which is what the authors' code computes: the gradient of its ratio cancels P.
        warmup: share of the steps, rounded up to whole steps.
        interval: optimizer steps of a turn.
    """

    tradeoff: float = 0.15
    weighting: Literal["detached", "uniform"] = "detached"
    warmup: float = 0.4
    interval: int = 200

    def __call__(self, training: TrainingPass) -> dict[str, Tensor]:
        """``cross_entropy`` or ``gate_error``, ``accuracy`` and ``total``, scalars."""
        heads = training.exit_heads.in_order
        for head in heads:
            head.bind(training.passed.backbone)
        outputs = training.outputs.logits
        losses = torch.stack([self._each(training, logits) for logits in outputs])
        accuracy = training.accuracy(outputs)
        turn = (training.step - math.ceil(self.warmup * training.total_steps)) // self.interval
        if turn >= 0 and turn % 2 == 0:
            error = self._gates(training, losses)
            return {"gate_error": error, "accuracy": accuracy, "total": error}
        means = losses.mean(1)
        if turn < 0:
            weights = torch.arange(len(heads) + 1, 1, -1, dtype=means.dtype, device=means.device)
            total = (weights * means).sum()
        else:
            total = self._weighted(training, losses)
        return {"cross_entropy": means.mean(), "accuracy": accuracy, "total": total}

    def _each(self, training: TrainingPass, logits: Tensor) -> Tensor:
        smoothing = training.label_smoothing
        return F.cross_entropy(full(logits), training.labels, label_smoothing=smoothing, reduction="none")

    def _gates(self, training: TrainingPass, losses: Tensor) -> Tensor:
        exits, depth = training.exit_heads.exits, training.passed.depth
        final = self._each(training, training.passed.logits)
        costs = losses.new_tensor([block / depth for block in (*exits, depth)])
        targets, stops = gate_targets(torch.stack([*losses.detach(), final.detach()]), costs, self.tradeoff)
        counts = torch.stack([(stops == exit_).sum() for exit_ in range(len(exits))])
        weights = ((len(stops) - counts) / counts.clamp(min=0.1)).clamp(max=LARGEST_WEIGHT)
        return F.binary_cross_entropy_with_logits(_gate_logits(training), targets, pos_weight=weights[:, None])

    def _weighted(self, training: TrainingPass, losses: Tensor) -> Tensor:
        if self.weighting == "uniform":
            return losses.mean()
        probabilities = exit_probabilities(torch.sigmoid(_gate_logits(training).detach()))
        return head_loss(losses, probabilities)


def _gate_logits(training: TrainingPass) -> Tensor:
    """[G, B]."""
    pairs = zip(training.exit_heads.in_order, training.outputs.logits, strict=True)
    return torch.stack([head.gate_logit(logits) for head, logits in pairs if isinstance(head, JEIHead)])


def exit_probabilities(gates: Tensor) -> Tensor:
    """The share of each early exit in breaking a stick of length 1: p_l = max(0, min(g_l, 1 - sum of earlier g)), [G, B]."""
    left = 1 - torch.cat([torch.zeros_like(gates[:1]), gates[:-1].cumsum(0)])
    return torch.minimum(gates, left).clamp(min=0)


def gate_targets(losses: Tensor, costs: Tensor, tradeoff: float) -> tuple[Tensor, Tensor]:
    """Which gates should open: those from the exit with the smallest loss + tradeoff * cost on.

    Args:
        losses: of the G early exits and the final one, [G + 1, B].
        costs: relative to the whole model, [G + 1].
        tradeoff: lambda.

    Returns:
        targets [G, B], 0 or 1; and that exit, [B], G for the final one.
    """
    stops = (losses + tradeoff * costs[:, None]).argmin(0)
    numbers = torch.arange(len(losses) - 1, device=losses.device)
    return (numbers[:, None] >= stops).to(losses.dtype), stops


def head_loss(losses: Tensor, probabilities: Tensor) -> Tensor:
    """The mean of P * L * ratio for losses L and exit probabilities P, [G, B]; the ratio has no gradient.

    An image adds nothing if the exits that have a share of it have no loss: the float32 loss of a certain answer is 0.
    """
    chances, values = probabilities.double(), losses.detach().double()
    weighted = (chances * values).sum(0)
    ratio = torch.where(weighted > 0, values.sum(0) / weighted, 0)
    return ((chances * ratio).to(losses.dtype) * losses).mean()
