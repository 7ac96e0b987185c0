"""Two resolutions: a smaller copy of the image first, then the image itself, in two passes with the same weights.

The training-free part of CF-ViT (Chen et al., AAAI 2023, arXiv 2203.03821): without its reuse of features and its choice of
regions. Written from the description of its code (ChenMnZ/CF-ViT, commit 84a05dd).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone, FinalNorm
from methods.backbones.vit import ViT
from methods.reductions.reduction import Reduction
from methods.reductions.resized import SmallerViT
from methods.tokens import Tokens

if TYPE_CHECKING:
    from methods.model import ExitHeads


@dataclass(frozen=True, kw_only=True)
class TwoResolutions(Reduction):
    """Runs the backbone twice; `methods.two_resolutions.TwoResolutions` describes the option."""

    share: float

    def reduce(self, backbone: BlockBackbone, heads: ExitHeads | None = None) -> BlockBackbone:
        return TwoPassViT(backbone, self.share)


class TwoPassViT(BlockBackbone):
    """A ViT with two passes of L blocks each: blocks 1 to L see the smaller image, blocks L + 1 to 2 L the whole one.

    Block L + 1 includes the embedding of the whole image. After block L, `classify` gives the answer for the smaller image.

    Args:
        backbone: the ViT; its modules are used in both passes, not copied.
        share: of the side of the patch grid; the smaller grid is rounded up to whole patches.

    Raises:
        ValueError: the backbone is no ViT of timm, or its grid is too small to be reduced.
    """

    is_reduced = True
    repeats_modules = True

    def __init__(self, backbone: BlockBackbone, share: float) -> None:
        super().__init__()
        if type(backbone) is not ViT:
            raise ValueError(f"two resolutions run on a ViT or DeiT only, not on {type(backbone).__name__}")
        self.full, self.small = backbone, SmallerViT(backbone, share)
        self.model, self.passes = backbone.model, backbone.depth
        self.depth = 2 * self.passes
        blocks: list[Callable[..., object]] = [
            partial(self.small.block, number) for number in range(1, self.passes + 1)
        ]
        blocks += [self._first_full_block, *(partial(backbone.block, number) for number in range(2, self.passes + 1))]
        self.steps = nn.ModuleList(map(_Step, blocks))
        self.classifier = _Step(backbone.classify)
        self.train(backbone.training)

    def embed(self, images: Tensor) -> Tokens:
        return replace(self.small.embed(images), images=images)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        return self.steps[number - 1](tokens)

    def _first_full_block(self, tokens: Tokens) -> Tokens:
        assert tokens.images is not None
        return self.full.block(1, self.full.embed(tokens.images))

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        return self.classifier(tokens, norm) if tokens.images is None else self.small.classify(tokens, norm)

    def stage_end(self, number: int) -> int:
        return self.passes if number <= self.passes else self.depth

    def block_names(self) -> list[tuple[str, ...]]:
        return [(f"backbone.steps.{i}",) for i in range(self.depth)]

    def classifier_names(self) -> list[str]:
        return ["backbone.classifier"]


class _Step(nn.Module):
    """Calls a function as a module of its own, so that the MACs of both passes through a module are counted apart."""

    def __init__(self, run: Callable[..., object]) -> None:
        super().__init__()
        self.run = run

    def forward(self, *inputs: object) -> object:
        return self.run(*inputs)
