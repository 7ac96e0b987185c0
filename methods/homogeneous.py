"""Homogeneous controls for LGViT's central claim: the same kind of head at every exit, with equal training."""

from dataclasses import dataclass
from typing import Literal

from methods.api import BackboneCard, Component
from methods.exit_method import ExitMethod


@dataclass(frozen=True, kw_only=True)
class HomogeneousLocal(ExitMethod):
    """LPH at every exit.

    Attributes:
        kernel: kernel size of the depthwise convolution; 0 for none.
    """

    kernel: Literal[0, 3, 5] = 3

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("lph", {"kernel": self.kernel}),) * len(exits)


@dataclass(frozen=True, kw_only=True)
class HomogeneousGlobal(ExitMethod):
    """GAH at every exit.

    Attributes:
        stride: downsampling factor of the patch grid before the attention.
        pool: method of downsampling: ``subsample`` or ``average``.
    """

    stride: int = 2
    pool: Literal["subsample", "average"] = "subsample"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("gah", {"stride": self.stride, "pool": self.pool}),) * len(exits)


@dataclass(frozen=True, kw_only=True)
class HomogeneousClassPatchMean(ExitMethod):
    """A linear classifier on class token and mean patch token at every exit."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("class-patch-mean"),) * len(exits)


@dataclass(frozen=True, kw_only=True)
class HomogeneousMLP(ExitMethod):
    """A multi-layer perceptron at every exit."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("mlp"),) * len(exits)


@dataclass(frozen=True, kw_only=True)
class HomogeneousConvolution(ExitMethod):
    """A plain 3x3 convolution at every exit, the official code's ``conv_normal``."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("convolution"),) * len(exits)


@dataclass(frozen=True, kw_only=True)
class HomogeneousAttention(ExitMethod):
    """Self-attention like that of the backbone at every exit, the official code's ``self_attention``."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return tuple(
            Component("self-attention", {"attention_heads": backbone.attention_heads[block - 1]}) for block in exits
        )
