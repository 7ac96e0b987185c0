"""What all methods with early exits share: how they are trained is a choice of its own, whatever their heads."""

from dataclasses import dataclass
from typing import Literal

from methods.api import BackboneCard, Choice, Method, TrainStage


@dataclass(frozen=True, kw_only=True)
class ExitMethod(Method):
    """A method with early exits.

    Attributes:
        regime: ``frozen``: fine-tune the backbone, freeze it, train the heads by self-distillation. ``joint``: backbone and
            heads together from the backbone's initial weights. ``alternating``: the same, every other step learning from
            the final exit alone. ``mixed``: fine-tune, then backbone and heads together. ``alternating-frozen``:
            alternating, then the heads go on by self-distillation on the frozen backbone. All see the same number of
            epochs: what has no second stage adds the second's epochs to its first.
        joint_weights: of the exits where they train with the backbone: ``uniform``, or ``depth``, their block numbers.
        kd_weight: share of the distillation term in self-distillation; 0 is plain cross-entropy.
        feature_terms: whether self-distillation has LGViT's two feature terms, each with weight 0.01. They are empty for
            heads whose feature is no token map.
    """

    regime: Literal["frozen", "joint", "alternating", "mixed", "alternating-frozen"] = "frozen"
    joint_weights: Literal["uniform", "depth"] = "uniform"
    kd_weight: float = 0.3
    feature_terms: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.kd_weight <= 1:
            raise ValueError(f"kd_weight is a share from 0 to 1, not {self.kd_weight}")

    @property
    def starts_finetuned(self) -> bool:
        return self.regime in ("frozen", "mixed")

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        heads, everything = self.heads_stage(backbone), self.everything_stage()
        return {
            "frozen": (heads,),
            "joint": (everything,),
            "alternating": (everything,),
            "mixed": (everything,),
            "alternating-frozen": (everything, heads),
        }[self.regime]

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        """The heads on the frozen backbone."""
        features = 0.01 if self.feature_terms else 0.0
        options = {"weight": self.kd_weight, "heterogeneous_weight": features, "homogeneous_weight": features}
        return TrainStage(loss=Choice("self-distillation", options))

    def everything_stage(self) -> TrainStage:
        """Backbone and heads together."""
        alternate = "step" if self.regime.startswith("alternating") else "never"
        options = {"weights": self.joint_weights, "alternate": alternate}
        recipe: Literal["joint", "exits"] = "exits" if self.regime == "mixed" else "joint"
        return TrainStage(trains="everything", loss=Choice("joint-cross-entropy", options), recipe=recipe)
