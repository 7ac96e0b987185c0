"""PABEE (Zhou et al., NeurIPS 2020): a sample exits when enough consecutive exits predict the same class.

`PABEE` follows the original paper: one pooler shared by all exits, an exit after every block, losses weighted by depth, and
a patience counter that starts at 0. `PABEEPort` follows the LGViT code's port. The LGViT code does not state which
command-line flags its baselines use; they are inferred from the code.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, JointWeights, Regime, every_block, with_loss
from methods.placement import place_exits


@dataclass(frozen=True, kw_only=True)
class PABEE(Competitor):
    """With regime ``frozen``, which the original does not have, the exits' losses are weighted by depth as well."""

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
    """One pooler per exit, none after the last block, and a patience counter that starts at 1."""

    regime: Regime = "joint"
    joint_weights: JointWeights = "depth"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)

    def policy(self) -> Component:
        return Component("patience", {"counting": "lgvit"})


def ported_exits(backbone: BackboneCard) -> tuple[int, ...]:
    """Exit positions of the LGViT code's baselines: after every block; on Swin, the eight exit positions of LGViT."""
    return place_exits("paper", backbone.depth) if backbone.family == "swin" else every_block(backbone)
