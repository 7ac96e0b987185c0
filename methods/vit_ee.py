"""ViT-EE: one more transformer block before each exit's classifier (Bakhtiarnia et al., BMVC 2021, arXiv 2106.15183).

The LGViT paper compares with a single such exit, after block 6 of 12 (12 of Swin's 24).
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component
from methods.exit_method import ExitMethod, JointWeights, Regime


@dataclass(frozen=True, kw_only=True)
class ViTEE(ExitMethod):
    """An extra block and a linear head at every exit. On Swin the block is the LGViT port's: 8 attention heads, MLP of 6
    times the width, attention over the whole grid. Trained with the backbone, the final exit counts twice, as in the original's
    end-to-end training; on the frozen one it has the suite's common loss."""

    joint_weights: JointWeights = "final-double"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        if not backbone.class_tokens:
            return (Component("vit-ee", {"attention_heads": 8, "mlp_ratio": 6.0}),) * len(exits)
        return tuple(
            Component("vit-ee", {"attention_heads": backbone.attention_heads[block - 1], "mlp_ratio": 4.0})
            for block in exits
        )

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return (backbone.depth // 2,)


@dataclass(frozen=True, kw_only=True)
class ViTEEPort(ViTEE):
    """The LGViT code's ``normal`` training, with the backbone and equal weights; that ViT-EE was trained so is assumed, not
    stated there."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "uniform"
