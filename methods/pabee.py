"""PABEE (Zhou et al., NeurIPS 2020): leave when enough successive exits agree.

`PABEE` keeps the original's rules: one pooler for all exits, an exit after every block, losses weighted by depth, and a
count that starts at 0. `PABEEPort` is what the LGViT code runs for it; that its baselines map to flags in this way is
inferred from the code, not stated there.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, JointWeights, Regime, every_block, with_loss
from methods.placement import place_exits


@dataclass(frozen=True, kw_only=True)
class PABEE(Competitor):
    """In the regime ``frozen``, which the original does not have, the exits' losses keep their weights."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "depth"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear", {"shared_pooler": True}),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return every_block(backbone)

    def policy(self) -> Component:
        return Component("patience")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), exit_weights="depth")


@dataclass(frozen=True, kw_only=True)
class PABEEPort(Competitor):
    """A pooler for each exit, none after the last block, and a count that starts at 1."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "depth"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)

    def policy(self) -> Component:
        return Component("patience", {"counting": "lgvit"})


def ported_exits(backbone: BackboneCard) -> tuple[int, ...]:
    """Where the LGViT code puts its baselines' exits: after every block, on Swin at the eight positions of LGViT itself."""
    return every_block(backbone) if backbone.class_tokens else place_exits("paper", backbone.depth)
