"""The parts of a model with early exits that run between two decisions, each as one module with tensors in and out."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.errors import UserError
from datasets.transforms import LUMINANCE
from methods.backbones.backbone import BlockBackbone
from methods.model import MultiExitModel
from methods.tokens import Tokens


class Preprocess(nn.Module):
    """`datasets.transforms.to_input` as a module: stored images uint8 (B, H, W, C) to the model's input.

    Bilinear resizing is linear and separable, so it is a product with one fixed matrix on each side.

    Args:
        stored_size: side of the stored images.
        size: side of the model's input.
        channels: of the model's input.
        mean: per stored channel or per channel of the input, of values in [0, 1]; likewise ``std``.
    """

    side: Tensor
    mean: Tensor
    std: Tensor
    luminance: Tensor

    def __init__(self, stored_size: int, size: int, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels = channels
        self.resizes = stored_size != size
        identity = torch.eye(stored_size)[None, None]
        side = F.interpolate(identity, (size, stored_size), mode="bilinear", antialias=True, align_corners=False)
        self.register_buffer("side", side[0, 0])
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        batch = images.permute(0, 3, 1, 2).float() / 255
        if self.resizes:
            batch = self.side @ batch @ self.side.T
        if batch.shape[1] != len(self.mean):
            batch = self._with_channels(batch)
        return self._with_channels((batch - self.mean) / self.std)

    def _with_channels(self, batch: Tensor) -> Tensor:
        if batch.shape[1] == self.channels:
            return batch
        if batch.shape[1] == 1:
            return batch.repeat(1, self.channels, 1, 1)
        return (batch * self.luminance).sum(1, keepdim=True)


class Segment(nn.Module):
    """The blocks after one exit up to the next exit: to the exit's logits (B, classes), and the values of the tokens.

    The first segment starts from stored images, the others from the values of the segment before. The last ends with the final
    classifier and returns its logits alone. It holds no weights of other segments.

    Args:
        model: in evaluation mode.
        number: of the exit at its end, 0-based; the number of early exits for the last segment.
        preprocess: in front of the first segment.
        before: tokens of any image at the start of the segment, for what all images share: grid, prefix, rotary positions.
    """

    def __init__(self, model: MultiExitModel, number: int, preprocess: Preprocess, before: Tokens) -> None:
        super().__init__()
        backbone, exits = model.backbone, model.exit_heads.exits
        ends = [0, *exits, backbone.depth]
        self.blocks = range(ends[number] + 1, ends[number + 1] + 1)
        self.preprocess = preprocess if number == 0 else None
        self.head = model.exit_heads.in_order[number] if number < len(exits) else None
        self.tokens = replace(before, values=before.values[:0])
        self.backbone: Any = _without(backbone, _unused(backbone, self.blocks, first=number == 0))

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        if self.preprocess is not None:
            tokens = self.backbone.embed(self.preprocess(values))
        else:
            tokens = replace(self.tokens, values=values)
        for block in self.blocks:
            tokens = self.backbone.block(block, tokens)
        if self.head is None:
            return (self.backbone.classify(tokens),)
        logits, _ = self.head(tokens)
        return logits, tokens.values


@torch.no_grad()
def segments(model: MultiExitModel, preprocess: Preprocess, image: Tensor) -> list[Segment]:
    """All segments of a model in evaluation mode, in order; ``image`` (1, channels, H, W) is any input of the model.

    Raises:
        UserError: the model has exits, and its blocks run on fewer tokens or read the image again.
    """
    backbone, exits = model.backbone, model.exit_heads.exits
    if exits and backbone.is_reduced:
        raise UserError(
            "export has no graphs for a model with exits whose blocks remove tokens or read the image again"
        )
    tokens = backbone.embed(image)
    before = {0: tokens}
    for block in range(1, backbone.depth):
        tokens = backbone.block(block, tokens)
        before[block] = tokens
    return [Segment(model, number, preprocess, before[start]).eval() for number, start in enumerate([0, *exits])]


def _unused(backbone: BlockBackbone, blocks: Collection[int], *, first: bool) -> set[str]:
    """Names within the backbone of the modules that a segment of these blocks does not run."""
    names = {
        name
        for number, modules in enumerate(backbone.block_names(), start=1)
        if number not in blocks
        for name in modules
    }
    if backbone.depth not in blocks:
        names |= set(backbone.classifier_names())
    unused = {name.removeprefix("backbone.") for name in names}
    return unused if first else unused | {"model.patch_embed"}


def _without(module: nn.Module, names: set[str], prefix: str = "") -> nn.Module:
    """A copy of a module that shares its weights, with the submodules of these names replaced by identities."""
    clone = copy.copy(module)
    clone._modules = {
        name: nn.Identity() if f"{prefix}{name}" in names else child and _without(child, names, f"{prefix}{name}.")
        for name, child in module._modules.items()
    }
    return clone
