"""Shallow-Deep Networks (Kaya et al., ICML 2019): joint training in which the weights of early exits increase over time.

`SDN` follows the original paper: mixed pooling, ramped loss weights, and exits at equal cost intervals. If no exit reaches
the threshold, the most confident prediction is used. `SDNPort` follows the LGViT code's port. The LGViT code does not state
which command-line flags its baselines use; they are inferred from the code.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, JointWeights, Regime, with_loss
from methods.pabee import ported_exits

# Shares of the cost after which the original has its exits. They are also the final values of its loss weights.
SHARES = (0.15, 0.30, 0.45, 0.60, 0.75, 0.90)


def position(share: float, depth: int) -> int:
    """The block nearest to a share of the depth, 1-based. Depth approximates cost: all blocks cost nearly the same."""
    return max(1, round(share * depth))


@dataclass(frozen=True, kw_only=True)
class SDN(Competitor):
    """With regime ``frozen``, this is the original's IC-only training: the sum of the exits' cross-entropies."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "ramp"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("mixed-pool"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        """The blocks nearest to 15, 30, ..., 90 % of the depth."""
        return tuple(dict.fromkeys(position(share, backbone.depth) for share in SHARES))

    def policy(self) -> Component:
        return Component("sdn")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        return with_loss(super().everything_stage(), reduction="sum")


@dataclass(frozen=True, kw_only=True)
class SDNPort(Competitor):
    """Linear heads, loss weights equal to block numbers, no ramp, and the final exit's prediction below the threshold."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "depth"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)
