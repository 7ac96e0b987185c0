"""ViT-EE: an additional transformer block before each exit's classifier (Bakhtiarnia et al., BMVC 2021, arXiv 2106.15183).

The LGViT paper compares with a single such exit, after block 6 of 12 (12 of Swin's 24).
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component
from methods.exit_method import ExitMethod, JointWeights, Regime


@dataclass(frozen=True, kw_only=True)
class ViTEE(ExitMethod):
    """An extra transformer block and a linear head at every exit.

    On Swin the block is that of the LGViT code: 8 attention heads, an MLP of 6 times the width, and attention over the whole
    patch grid. In joint training the final exit has twice the weight, as in the original's end-to-end training; on a frozen
    backbone the loss is the suite's common one.
    """

    joint_weights: JointWeights = "final-double"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        if backbone.family == "swin":
            return (Component("vit-ee", {"attention_heads": 8, "mlp_ratio": 6.0}),) * len(exits)
        return tuple(
            Component("vit-ee", {"attention_heads": backbone.attention_heads[block - 1], "mlp_ratio": 4.0})
            for block in exits
        )

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return (backbone.depth // 2,)


@dataclass(frozen=True, kw_only=True)
class ViTEEPort(ViTEE):
    """The LGViT code's ``normal`` training: joint, with equal weights. That it was used for ViT-EE is our assumption."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "uniform"
