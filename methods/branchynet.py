"""BranchyNet (Teerapittayanon et al., ICPR 2016): train the trunk, then trunk and branches together; leave on low entropy.

Its branches are small convolutions; here each is the plain 3x3 convolution on the patch map. Its code gives every branch
the same weight. It searches one threshold a branch; here, as for all others, one threshold serves all.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, Regime, with_loss

SHARES = (2 / 54, 20 / 54)
"""Of ResNet-110's blocks before its two branches."""


@dataclass(frozen=True, kw_only=True)
class BranchyNet(Competitor):
    """A convolution at every exit, the sum of all cross-entropies."""

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
