"""BoostedNet (Yu et al., AAAI 2023): each exit adds to the answer of the exit before; gradients in equilibrium."""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, TrainStage
from methods.borrowed_heads import borrowed_heads, check_base
from methods.exit_method import Competitor, Gradients, Regime, with_loss


@dataclass(frozen=True, kw_only=True)
class Boosted(Competitor):
    """The heads of another method, with additive logits, trained by the sum of the exits' cross-entropies.

    On a frozen backbone the gradient equilibrium has no effect.

    Attributes:
        base: registered name of the method whose heads are used, such as ``vanilla`` or ``lgvit``.
        weight: factor of the earlier exits' logits in the sum.
    """

    regime: Regime = "joint"
    gradients: Gradients = "equilibrium"
    base: str = "vanilla"
    weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_base(self.base)
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"boosted: weight must be at least 0, not {self.weight}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """
        Raises:
            ValueError: a head of the other method reads modules of the backbone or of other exits.
        """
        inner = borrowed_heads(self.base, exits, backbone, "boosted")
        return tuple(
            Component("boosted", {**options, "first": position == 0, "weight": self.weight})
            for position, options in enumerate(inner)
        )

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        return with_loss(super().everything_stage(), reduction="sum")
