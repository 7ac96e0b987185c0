"""BERxiT (Xin et al., EACL 2021): steps in turns for the final exit and for all, and exits that learn when to leave.

`BERxiT` keeps the original's rules: sums over exits, and its learning-to-exit gate, one linear layer shared by all exits.
`BERxiTPort` is what the LGViT code runs for it: means instead of sums, and no gate.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, Regime, every_block, with_loss
from methods.pabee import ported_exits


@dataclass(frozen=True, kw_only=True)
class BERxiT(Competitor):
    """The original's ``alternate-lte``, or ``alternate`` without a gate.

    Attributes:
        gate: whether exits learn to predict their errors. Then the final exit learns in its own turn alone.
    """

    regime: Regime = "alternating"
    gate: bool = True

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear", {"gate": True} if self.gate else {}),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return every_block(backbone)

    def policy(self) -> Component:
        return Component("learned-gate" if self.gate else "confidence")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        alternates = self.regime.startswith("alternating")
        return with_loss(super().everything_stage(), reduction="sum", final_in_turn=not (self.gate and alternates))


@dataclass(frozen=True, kw_only=True)
class BERxiTPort(Competitor):
    """The original's ``alternate`` with means over the exits, and confidence."""

    regime: Regime = "alternating"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)
