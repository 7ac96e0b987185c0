"""BERxiT (Xin et al., EACL 2021): alternating training of the final exit and all exits, with learned exit gates.

`BERxiT` follows the original paper: losses are summed over exits, and the learning-to-exit gate is one linear layer that
all exits share. `BERxiTPort` follows the LGViT code's port: losses are averaged over exits, and there is no gate.
"""

from dataclasses import dataclass
from typing import Literal

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, Regime, every_block, with_idle_heads, with_loss
from methods.pabee import ported_exits


@dataclass(frozen=True, kw_only=True)
class BERxiT(Competitor):
    """The original's ``alternate-lte`` training, or its ``alternate`` training without the gate.

    Attributes:
        gate: whether each exit learns to predict its own errors. If so, the final exit's loss is left out of the steps that
            train the early exits.
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
    """The original's ``alternate`` training with losses averaged over exits, and the confidence policy.

    Attributes:
        idle_heads: as for ``lgvit``.
    """

    regime: Regime = "alternating"
    idle_heads: Literal["rest", "zero-gradient"] = "rest"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ported_exits(backbone)

    def everything_stage(self) -> TrainStage:
        return with_idle_heads(super().everything_stage(), self.idle_heads)
