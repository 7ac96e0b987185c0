"""Shallow-Deep Networks (Kaya et al., ICML 2019): joint training whose early exits gain weight as it goes on.

`SDN` keeps the original's rules: mixed pooling, ramped weights, exits at equal shares of the cost, and whoever was surest
answers where nobody was sure. `SDNPort` is what the LGViT code runs for it; that its baselines map to flags in this way is
inferred from the code, not stated there.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, JointWeights, Regime, with_loss
from methods.pabee import ported_exits

SHARES = (0.15, 0.30, 0.45, 0.60, 0.75, 0.90)


@dataclass(frozen=True, kw_only=True)
class SDN(Competitor):
    """In the regime ``frozen`` it is the original's IC-only training: the sum of the exits' cross-entropies."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "ramp"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("mixed-pool"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        """The blocks nearest to 15, 30, ..., 90 % of the depth; blocks cost nearly alike in ViT, DeiT and Swin."""
        return tuple(dict.fromkeys(max(1, round(share * backbone.depth)) for share in SHARES))

    def policy(self) -> Component:
        return Component("sdn")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        return with_loss(super().everything_stage(), reduction="sum")


@dataclass(frozen=True, kw_only=True)
class SDNPort(Competitor):
    """Linear heads, block numbers as weights, no ramp; below the threshold the final exit answers."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "depth"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)
