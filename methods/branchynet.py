"""BranchyNet (Teerapittayanon et al., ICPR 2016): train the trunk, then trunk and branches; exit at low entropy.

The original's branches are small convolutional networks; here each branch is a plain 3x3 convolution on the patch map. As in
the original's code, all branches have the same loss weight. The original searches one threshold per branch; here all exits
have the same threshold, as in the other methods.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, Regime, with_loss

SHARES = (0, 18 / 54)  # of ResNet-110's 54 blocks, the shares that precede its two branches


@dataclass(frozen=True, kw_only=True)
class BranchyNet(Competitor):
    """A convolution head at every exit; the loss is the sum of all cross-entropies."""

    regime: Regime = "mixed"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("convolution"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return tuple(dict.fromkeys(max(1, round(share * backbone.depth)) for share in SHARES))

    def policy(self) -> Component:
        return Component("entropy")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        return with_loss(super().everything_stage(), reduction="sum")
