"""JEI-DNN (Regol et al., ICLR 2024, arXiv 2310.09163): gates that learn beside the heads which exit is worth its cost."""

from dataclasses import dataclass
from typing import Literal

from methods.api import BackboneCard, Component, TrainStage
from methods.borrowed_heads import borrowed_heads, check_base
from methods.exit_method import Competitor, every_block


@dataclass(frozen=True, kw_only=True)
class JEIDNN(Competitor):
    """Linear heads with gates on the frozen backbone, trained in turns.

    Attributes:
        base: registered name of the method whose heads get the gates, such as ``lgvit``; null for the paper's linear heads.
        tradeoff: lambda, the weight of an exit's cost in the targets of the gates. The paper has no threshold: each value is a
            training and a point.
        weighting: weights of the exits in the loss of the heads: ``detached``, by the gates, as the paper describes; or
            ``uniform``, as the authors' code computes it.
        warmup: share of the steps in which the heads train alone.
        interval: number of optimizer steps that train the gates, then as many for the heads, in turns.

    Raises:
        ValueError: the regime is not ``frozen``, or a distillation term is set.
    """

    base: str | None = None
    tradeoff: float = 0.15
    weighting: Literal["detached", "uniform"] = "detached"
    warmup: float = 0.4
    interval: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base is not None:
            check_base(self.base)
        if self.regime != "frozen":
            raise ValueError(f"jei-dnn: gates train on a frozen backbone, so regime must be frozen, not {self.regime}")
        if self.kd_weight or self.feature_terms:
            raise ValueError("jei-dnn: its loss has no distillation, so kd_weight must be 0 and feature_terms false")
        if self.interval < 1:
            raise ValueError(f"jei-dnn: interval must be at least 1 step, not {self.interval}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"jei-dnn: warmup must be at least 0 and below 1, not {self.warmup}")
        if not 0 <= self.tradeoff < float("inf"):
            raise ValueError(f"jei-dnn: tradeoff must be at least 0, not {self.tradeoff}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """
        Raises:
            ValueError: a head of the other method reads modules of the backbone or of other exits.
        """
        if self.base is None:
            return (Component("jei", {"gate": True}),) * len(exits)
        inner = borrowed_heads(self.base, exits, backbone, "jei-dnn")
        return tuple(Component("jei", {"gate": True, **options}) for options in inner)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return every_block(backbone)

    def policy(self) -> Component:
        return Component("jei")

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        names = ("tradeoff", "weighting", "warmup", "interval")
        return TrainStage(loss=Component("jei", {name: getattr(self, name) for name in names}))
