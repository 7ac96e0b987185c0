"""BoostedNet (Yu et al., AAAI 2023): each exit adds to the answer of the exit before; gradients in equilibrium."""

from dataclasses import dataclass

from methods import METHODS
from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import Competitor, Gradients, Regime, with_loss
from methods.heads import HEADS
from methods.lookup import unknown


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
        if self.base not in METHODS:
            raise ValueError(unknown("method", self.base, METHODS))
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"boosted: weight must be at least 0, not {self.weight}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """
        Raises:
            ValueError: a head of the other method reads modules of the backbone.
        """
        inner = METHODS[self.base].load()().heads(exits, backbone)
        if any(HEADS[head.name].reads_backbone for head in inner):
            raise ValueError(f"boosted: the heads of {self.base} read parts of the backbone, so they cannot be boosted")
        return tuple(
            Component(
                "boosted",
                {
                    "head": head.name,
                    "options": dict(head.options),
                    "head_version": HEADS[head.name].code_version,
                    "first": position == 0,
                    "weight": self.weight,
                },
            )
            for position, head in enumerate(inner)
        )

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        return with_loss(super().heads_stage(backbone), reduction="sum")

    def everything_stage(self) -> TrainStage:
        return with_loss(super().everything_stage(), reduction="sum")
