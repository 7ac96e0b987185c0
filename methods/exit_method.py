"""The base classes of all methods with early exits. The training regime is chosen independently of the heads."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from methods.api import BackboneCard, Component, Method, TrainStage
from methods.heads import HEADS
from methods.token_reduction import ToMe, check_class_token

Regime = Literal["frozen", "joint", "alternating", "mixed", "alternating-frozen"]
JointWeights = Literal["uniform", "depth", "ramp", "final-double"]
Gradients = Literal["sum", "equilibrium"]


@dataclass(frozen=True, kw_only=True)
class ExitMethod(Method):
    """A method with early exits.

    Attributes:
        regime: which parameters are trained, and in which order:

            - ``frozen``: fine-tune the backbone, freeze it, then train the heads, with the method's own loss.
            - ``joint``: train backbone and heads together, from the backbone's initial weights.
            - ``alternating``: like ``joint``, but every second step uses only the loss of the final exit.
            - ``mixed``: fine-tune the backbone, then train backbone and heads together, for the epochs of the second stage.
            - ``alternating-frozen``: ``alternating``, then train the heads on the frozen backbone, as in ``frozen``.
        equal_epochs: if True, a regime with one stage adds the epochs of the missing second stage, so that all regimes
            train for the same number of epochs. If False, it trains only for the epochs of its own stage, as the
            authors' scripts do for their baselines.
        joint_weights: loss weights of the exits in joint training; see `methods.losses.joint_cross_entropy`.
        gradients: how the gradients of the exits meet in a jointly trained backbone. ``sum``: they add up. ``equilibrium``: the
            gradient at each block is the mean over the exits after it (IMTA, Li et al., ICCV 2019, arXiv 1908.06294).
        kd_weight: weight of the distillation term in self-distillation, in [0, 1]; 0 is plain cross-entropy.
        feature_terms: whether self-distillation includes LGViT's two feature terms, each with weight 0.01. The terms are
            zero for heads whose feature is not a token map.
        merge: number of tokens that each block of the backbone merges by ToMe (`methods.token_reduction.ToMe`), in the training
            of the heads and afterwards; 0 for none. For heads that read class tokens only. A frozen backbone is fine-tuned
            without merging.

    Raises:
        ValueError: ``kd_weight`` is outside [0, 1], or ``merge`` is negative.
    """

    regime: Regime = "frozen"
    equal_epochs: bool = True
    joint_weights: JointWeights = "uniform"
    gradients: Gradients = "sum"
    kd_weight: float = 0.3
    feature_terms: bool = True
    merge: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.kd_weight <= 1:
            raise ValueError(f"kd_weight must be between 0 and 1, not {self.kd_weight}")
        if self.merge < 0:
            raise ValueError(f"merge must be at least 0 tokens, not {self.merge}")

    @property
    def starts_finetuned(self) -> bool:
        return self.regime in ("frozen", "mixed")

    def adds_second_stage_epochs(self) -> bool:
        return self.equal_epochs

    def token_reduction(self, backbone: BackboneCard) -> Component | None:
        """
        Raises:
            ValueError: tokens are to be merged, and the backbone or a head reads the grid of patches.
        """
        if not self.merge:
            return None
        check_class_token(backbone)
        for head in self.heads((1, 2), backbone):
            name = head.options.get("head", head.name)  # a boosted head names the head within it
            if name in HEADS and HEADS[name].reads_patches:
                raise ValueError(
                    f"merge removes patch tokens, which the head {name} reads; it takes heads on class tokens"
                )
        return ToMe(r=self.merge).component()

    def trains_reduced(self) -> bool:
        return True

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
        """The stage that trains the heads on the frozen backbone."""
        feature_weight = 0.01 if self.feature_terms else 0.0
        options = {
            "weight": self.kd_weight,
            "heterogeneous_weight": feature_weight,
            "homogeneous_weight": feature_weight,
        }
        return TrainStage(loss=Component("self-distillation", options))

    def everything_stage(self) -> TrainStage:
        """The stage that trains backbone and heads together."""
        alternate = "step" if self.regime.startswith("alternating") else "never"
        options = {"weights": self.joint_weights, "alternate": alternate}
        loss = Component("joint-cross-entropy", options)
        return TrainStage(trains="everything", loss=loss, gradients=self.gradients)


@dataclass(frozen=True, kw_only=True)
class Competitor(ExitMethod):
    """A published baseline. Its heads train with plain cross-entropy, without distillation and feature terms."""

    kd_weight: float = 0.0
    feature_terms: bool = False


def with_loss(stage: TrainStage, **options: Any) -> TrainStage:
    """A copy of ``stage`` with the given options of its loss replaced."""
    return replace(stage, loss=Component(stage.loss.name, {**stage.loss.options, **options}))


def with_idle_heads(stage: TrainStage, idle_heads: str) -> TrainStage:
    """A copy of ``stage`` whose loss has the option ``idle_heads``; the default is omitted, so it is not part of stage keys."""
    return stage if idle_heads == "rest" else with_loss(stage, idle_heads=idle_heads)


def every_block(backbone: BackboneCard) -> tuple[int, ...]:
    """Exit positions after every block except the last, whose output goes to the final classifier."""
    return tuple(range(1, backbone.depth))
