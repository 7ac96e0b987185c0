"""What all methods with early exits share: how they are trained is a choice of its own, whatever their heads."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from methods.api import BackboneCard, Component, Method, TrainStage

Regime = Literal["frozen", "joint", "alternating", "mixed", "alternating-frozen"]
JointWeights = Literal["uniform", "depth", "ramp", "final-double"]


@dataclass(frozen=True, kw_only=True)
class ExitMethod(Method):
    """A method with early exits.

    Attributes:
        regime: ``frozen``: fine-tune the backbone, freeze it, train the heads by self-distillation. ``joint``: backbone and
            heads together from the backbone's initial weights. ``alternating``: the same, every other step learning from
            the final exit alone. ``mixed``: fine-tune, then backbone and heads together. ``alternating-frozen``:
            alternating, then the heads go on by self-distillation on the frozen backbone.
        equal_epochs: all see the same number of epochs: what has no second stage adds the second's epochs to its first.
            Otherwise it trains for those of its recipe alone, as the authors' scripts train their baselines.
        joint_weights: of the exits where they train with the backbone; see `methods.losses.joint_cross_entropy`.
        kd_weight: share of the distillation term in self-distillation; 0 is plain cross-entropy.
        feature_terms: whether self-distillation has LGViT's two feature terms, each with weight 0.01. They are empty for
            heads whose feature is no token map.
    """

    regime: Regime = "frozen"
    equal_epochs: bool = True
    joint_weights: JointWeights = "uniform"
    kd_weight: float = 0.3
    feature_terms: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.kd_weight <= 1:
            raise ValueError(f"kd_weight is a share from 0 to 1, not {self.kd_weight}")

    @property
    def starts_finetuned(self) -> bool:
        return self.regime in ("frozen", "mixed")

    def adds_second_stage_epochs(self) -> bool:
        return self.equal_epochs

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
        return TrainStage(loss=Component("self-distillation", options))

    def everything_stage(self) -> TrainStage:
        """Backbone and heads together."""
        alternate = "step" if self.regime.startswith("alternating") else "never"
        options = {"weights": self.joint_weights, "alternate": alternate}
        recipe: Literal["joint", "exits"] = "exits" if self.regime == "mixed" else "joint"
        return TrainStage(trains="everything", loss=Component("joint-cross-entropy", options), recipe=recipe)


@dataclass(frozen=True, kw_only=True)
class Competitor(ExitMethod):
    """A published method with its own loss: plain cross-entropy of the exits, without distillation and feature terms."""

    kd_weight: float = 0.0
    feature_terms: bool = False


def with_loss(stage: TrainStage, **options: Any) -> TrainStage:
    """The stage with options of its loss changed."""
    return replace(stage, loss=Component(stage.loss.name, {**stage.loss.options, **options}))


def every_block(backbone: BackboneCard) -> tuple[int, ...]:
    """An exit after each block but the last, which the final classifier follows."""
    return tuple(range(1, backbone.depth))
