"""A backbone with early exits, as it is trained and evaluated and as its cost is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.heads.head import ExitHead
from methods.tasks import get_task
from methods.tasks.task import Task
from methods.tokens import Tokens


@dataclass(frozen=True)
class BackbonePass:
    """The outputs of one forward pass through a backbone, read by the exit heads and by the losses.

    Attributes:
        backbone: the backbone that computed the outputs.
        tokens: block number (1-based) to block output, for the requested blocks and the last block of each one's stage.
        logits: output of the final classifier: logits (B, num_classes), or what another task than classification has instead.
    """

    backbone: BlockBackbone
    tokens: Mapping[int, Tokens]
    logits: Tensor

    @property
    def depth(self) -> int:
        return self.backbone.depth

    @property
    def last(self) -> Tokens:
        """The output of the last block."""
        return self.tokens[self.depth]

    def stage_end(self, block: int) -> Tokens:
        """The output of the last block that has the same width and grid as ``block``."""
        return self.tokens[self.backbone.stage_end(block)]


@dataclass(frozen=True)
class ExitOutputs:
    """The outputs of the early exits, ordered from shallow to deep.

    Attributes:
        logits: one output per exit: (B, num_classes), or what another task has instead.
        features: one tensor per exit; each head class documents the shape.
        errors: predicted probability that the exit's prediction is wrong, one tensor (B,) per exit; empty if the heads
            have no learned gate.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    errors: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class AllLogits:
    """The outputs of all exits.

    Attributes:
        logits: [K, B, num_classes] for K exits, the final exit last; in segmentation [K, B, num_classes, g, g].
        errors: error probabilities from the learned gates of the early exits, [K - 1, B]; None if there are no gates.
        tokens: number of tokens on which each of the L blocks ran, int32 [B, L], where images differ in it; None elsewhere.
        left: exit at which the token of each patch left, uint8 [B, g * g]; see `Tokens`.
    """

    logits: Tensor
    errors: Tensor | None = None
    tokens: Tensor | None = None
    left: Tensor | None = None


def backbone_pass(
    backbone: BlockBackbone, images: Tensor, blocks: Sequence[int], *, equilibrium: bool = False
) -> BackbonePass:
    """Run the whole backbone; keep the outputs of ``blocks`` (1-based) and of the last block in each one's stage.

    With ``equilibrium``, the gradient at a block is the mean, not the sum, of those of the exits after it (IMTA, Li et al.,
    ICCV 2019, arXiv 1908.06294). With n exits including the final one, the gradient that reaches exit i (0-based) from its
    head and from later blocks is divided by n - i, and the part from later blocks is first multiplied by n - i - 1.
    """
    kept_blocks = {*blocks, *map(backbone.stage_end, blocks), backbone.depth}
    tokens, outputs = backbone.embed(images), {}
    exits_from_here = len(set(blocks)) + 1
    for number in range(1, backbone.depth + 1):
        tokens = backbone.block(number, tokens)
        balanced = equilibrium and number in blocks
        if balanced:
            tokens = replace(tokens, values=scale_gradient(tokens.values, 1 / exits_from_here))
        if number in kept_blocks:
            outputs[number] = tokens
        if balanced:
            exits_from_here -= 1
            tokens = replace(tokens, values=scale_gradient(tokens.values, exits_from_here))
    return BackbonePass(backbone, outputs, backbone.classify(tokens))


def scale_gradient(values: Tensor, factor: float) -> Tensor:
    """The values as they are, with a gradient that is multiplied by ``factor``."""
    return _ScaledGradient.apply(values, factor)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


class ExitHeads(nn.Module):
    """The early exits of one method: one head after each block in ``exits`` (1-based block numbers, ascending).

    Heads of the same class and width share the modules named in `ExitHead.shared`; all of them use the first head's modules.
    """

    def __init__(self, exits: Sequence[int], heads: Sequence[ExitHead]) -> None:
        super().__init__()
        self.exits = tuple(exits)
        shared: dict[tuple[type, int, str], nn.Module] = {}
        for head in heads:
            for name in head.shared:
                setattr(head, name, shared.setdefault((type(head), head.dim, name), getattr(head, name)))
        self.heads = nn.ModuleList(heads)

    @property
    def in_order(self) -> list[ExitHead]:
        """The heads, ordered from shallow to deep."""
        return list(self.heads)  # type: ignore[arg-type]

    def forward(self, tokens: Mapping[int, Tokens]) -> ExitOutputs:
        outputs: list[tuple[Tensor, Tensor]] = []
        for block, head in zip(self.exits, self.in_order, strict=True):
            outputs.append(head.after(tokens[block], outputs[-1][0] if outputs else None))
        errors = [head.error_probability(feature) for head, (_, feature) in zip(self.in_order, outputs, strict=True)]
        return ExitOutputs(
            tuple(logits for logits, _ in outputs),
            tuple(feature for _, feature in outputs),
            tuple(error for error in errors if error is not None),
        )


class MultiExitModel(nn.Module):
    """A backbone with early exits. Without exits it computes the same as the plain backbone.

    Args:
        backbone: the backbone.
        exit_heads: its early exits.
        task: what the outputs of backbone and heads mean; None for classification.
    """

    def __init__(self, backbone: BlockBackbone, exit_heads: ExitHeads, task: Task | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.exit_heads = exit_heads
        self.task = task or get_task("classification")
        for head in exit_heads.in_order:
            head.bind(backbone)

    def forward_all(self, images: Tensor) -> AllLogits:
        """The logits of all exits for all images (B, channels, H, W); no sample exits early."""
        passed = backbone_pass(self.backbone, images, self.exit_heads.exits)
        outputs = self.exit_heads(passed.tokens)
        errors = torch.stack(outputs.errors) if outputs.errors else None
        return AllLogits(torch.stack([*outputs.logits, passed.logits]), errors, passed.last.lengths, passed.last.left)

    def forward(self, images: Tensor) -> Tensor:
        """The logits of all exits, [K, B, num_classes], the final exit last."""
        return self.forward_all(images).logits
