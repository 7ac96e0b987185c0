"""DeeBERT (Xin et al., ACL 2020): fine-tune, freeze, then train linear exits; a sample exits when the entropy is low.

The original initialises the pooler of each exit from the pooler of the final classifier. Vision transformers have no such
pooler, so the exits' poolers are initialised at random.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, every_block, with_loss


@dataclass(frozen=True, kw_only=True)
class DeeBERT(Competitor):
    """Linear heads, by default after every block but the last, trained with the sum of their cross-entropies."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return every_block(backbone)

    def policy(self) -> Component:
        return Component("entropy")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")
