"""DeeBERT (Xin et al., ACL 2020): fine-tune, freeze, then train linear exits; leave on low entropy.

The original starts each exit's pooler from the final classifier's; vision transformers have none there, so poolers start at
random.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, every_block, with_loss


@dataclass(frozen=True, kw_only=True)
class DeeBERT(Competitor):
    """An exit after every block, the sum of their cross-entropies."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return every_block(backbone)

    def policy(self) -> Component:
        return Component("entropy")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")
