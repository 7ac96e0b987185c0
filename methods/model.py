"""A backbone with exits: the model that is trained, scored and priced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.heads.head import ExitHead
from methods.tokens import Tokens


@dataclass(frozen=True)
class BackbonePass:
    """One pass through a backbone: what heads and their teachers read.

    Attributes:
        backbone: whose pass it is.
        tokens: block number to block output: the blocks that were asked for, and the last block of each one's stage.
        logits: final logits (B, num_classes).
    """

    backbone: BlockBackbone
    tokens: Mapping[int, Tokens]
    logits: Tensor

    @property
    def depth(self) -> int:
        return self.backbone.depth

    @property
    def last(self) -> Tokens:
        return self.tokens[self.depth]

    def stage_end(self, block: int) -> Tokens:
        """The output of the last block with the width and grid of that of ``block``."""
        return self.tokens[self.backbone.stage_end(block)]


@dataclass(frozen=True)
class ExitOutputs:
    """What the early exits say, shallow to deep.

    Attributes:
        logits: one (B, num_classes) an exit.
        features: one an exit; see the heads.
        errors: how likely each answer is wrong, one (B,) an exit; empty where the heads have no learned gate.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    errors: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class AllLogits:
    """
    Attributes:
        logits: [K, B, num_classes], final exit last.
        errors: of the early exits' learned gates, [K - 1, B]; None where they have none.
    """

    logits: Tensor
    errors: Tensor | None = None


def backbone_pass(backbone: BlockBackbone, images: Tensor, blocks: Sequence[int]) -> BackbonePass:
    """Run the whole backbone and keep the outputs of ``blocks`` (1-based) and of the blocks that end their stages."""
    wanted = {*blocks, *map(backbone.stage_end, blocks), backbone.depth}
    tokens, kept = backbone.embed(images), {}
    for number in range(1, backbone.depth + 1):
        tokens = backbone.block(number, tokens)
        if number in wanted:
            kept[number] = tokens
    return BackbonePass(backbone, kept, backbone.classify(tokens))


class ExitHeads(nn.Module):
    """The early exits of one method: a head after each of ``exits`` (1-based block numbers, ascending).

    Modules that heads say they share are those of the first head of the same kind and width.
    """

    def __init__(self, exits: Sequence[int], heads: Sequence[ExitHead]) -> None:
        super().__init__()
        self.exits = tuple(exits)
        owned: dict[tuple[type, int, str], nn.Module] = {}
        for head in heads:
            for name in head.shared:
                setattr(head, name, owned.setdefault((type(head), head.dim, name), getattr(head, name)))
        self.heads = nn.ModuleList(heads)

    @property
    def in_order(self) -> list[ExitHead]:
        """The heads, shallow to deep."""
        return list(self.heads)  # type: ignore[arg-type]

    def forward(self, tokens: Mapping[int, Tokens]) -> ExitOutputs:
        outputs = [head(tokens[block]) for block, head in zip(self.exits, self.heads, strict=True)]
        gates = [head.error_probability(feature) for head, (_, feature) in zip(self.in_order, outputs, strict=True)]
        return ExitOutputs(
            tuple(logits for logits, _ in outputs),
            tuple(feature for _, feature in outputs),
            tuple(error for error in gates if error is not None),
        )


class MultiExitModel(nn.Module):
    """A backbone and its early exits; without exits it is the plain backbone."""

    def __init__(self, backbone: BlockBackbone, exit_heads: ExitHeads) -> None:
        super().__init__()
        self.backbone = backbone
        self.exit_heads = exit_heads

    def forward_all(self, images: Tensor) -> AllLogits:
        """Every exit's answer to every image, nothing skipped."""
        passed = backbone_pass(self.backbone, images, self.exit_heads.exits)
        outputs = self.exit_heads(passed.tokens)
        errors = torch.stack(outputs.errors) if outputs.errors else None
        return AllLogits(torch.stack([*outputs.logits, passed.logits]), errors)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_all(images).logits
