"""LGViT: Dynamic Early Exiting for Accelerating Vision Transformer (Xu et al., ACM MM 2023, arXiv 2308.00255).

Shallow exits lack local information, deep exits lack the target's semantics: so the lower half of the exits gets
convolutional local perception heads (LPH), the upper half attention-based global aggregation heads (GAH). The backbone
is trained first; then the heads learn from it, frozen, by self-distillation.

Paper and official code (falcon-xu/LGViT) differ, and both are here: `LGViT` is what the paper means, with losses whose size
depends on neither the token count nor the number of exits; `LGViTOfficial` is what the code does. They are one class with
other defaults, so that every difference is a switch that a grid can set alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import ExitMethod, JointWeights, Regime, with_loss


@dataclass(frozen=True, kw_only=True)
class LGViT(ExitMethod):
    """LPH on the lower ceil(n/2) exits, GAH on the others. D numbers name the differences in docs/discrepancies.md.

    Attributes:
        lph_kernel: side of every LPH's depthwise convolution, 0 for none; null for the authors' layout, 3 in the first half
            of the LPHs and none in the second (D18).
        gah_stride: of every GAH; null for the authors' layout, 2 then 3 (on Swin 1 then 2).
        pool: before a GAH: ``subsample``, as the official code, or a true ``average`` (D19).
        gah_residual: whether a GAH adds its input, as an LPH does (D20).
        teacher_norm: before the final classifier when it teaches: ``final`` as deployed, ``none`` or ``plain`` (D5, D7).
        reduction: ``mean`` or ``sum`` over the exits and feature terms of stage 2 (D21).
        exit_weights: of stage 2's mean cross-entropy: ``uniform``, ``depth`` or ``depth-1`` (D21).
        kd_divisor: of the distillation term: ``batch``, or ``elements``, which is batch times classes (D21).
        feature_divisor: ``tokens``: feature terms are means over tokens; ``none``: sums (D22).
        detach_group_teacher: whether the deepest head of a group stays put when others are drawn to it (D23).
        heterogeneous_exits: which heads are drawn to the backbone's tokens: the group's ``ends`` or ``all`` (D24).
        heads_always: run the heads also in steps that learn from the final exit alone (D31).
        frozen_mode: of the frozen backbone: ``eval``, or ``train`` with its drop-path at work (D31).
        alternate_by: what alternates: optimizer ``step`` or ``forward`` pass (D32).
    """

    lph_kernel: Literal[0, 3, 5] | None = None
    gah_stride: Literal[1, 2, 3] | None = None
    pool: Literal["subsample", "average"] = "subsample"
    gah_residual: bool = False
    teacher_norm: Literal["final", "none", "plain"] = "final"
    reduction: Literal["mean", "sum"] = "mean"
    exit_weights: Literal["uniform", "depth", "depth-1"] = "uniform"
    kd_divisor: Literal["batch", "elements"] = "batch"
    feature_divisor: Literal["tokens", "none"] = "tokens"
    detach_group_teacher: bool = True
    heterogeneous_exits: Literal["ends", "all"] = "ends"
    heads_always: bool = False
    frozen_mode: Literal["eval", "train"] = "eval"
    alternate_by: Literal["step", "forward"] = "step"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """The authors' layouts for 8 exits, A A B B R2 R2 R3 R3 and on Swin A A B B R1 R1 R2 R2, for any count.

        The first half of the LPHs has the depthwise 3x3 convolution, the second half is pointwise; the first half of
        the GAHs attends on every second token (on Swin: on all), the second half on every third (on every second).
        """
        count = len(exits)
        local = (count + 1) // 2
        deep = count - local
        kernels = [3 if i < (local + 1) // 2 else 0 for i in range(local)]
        if self.lph_kernel is not None:
            kernels = [self.lph_kernel] * local
        first = 2 if backbone.class_tokens else 1
        strides = [first if i < (deep + 1) // 2 else first + 1 for i in range(deep)]
        if self.gah_stride is not None:
            strides = [self.gah_stride] * deep
        options = {"pool": self.pool, "residual": self.gah_residual}
        return (
            *(Component("lph", {"kernel": kernel}) for kernel in kernels),
            *(Component("gah", {"stride": stride, **options}) for stride in strides),
        )

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        stage = super().heads_stage(backbone)
        switches = {
            "teacher_norm": self.teacher_norm,
            "reduction": self.reduction,
            "exit_weights": self.exit_weights,
            "kd_divisor": self.kd_divisor,
            "feature_divisor": self.feature_divisor,
            "detach_group_teacher": self.detach_group_teacher,
            "heterogeneous_exits": self.heterogeneous_exits,
        }
        return replace(with_loss(stage, **switches), frozen_mode=self.frozen_mode)

    def everything_stage(self) -> TrainStage:
        stage = super().everything_stage()
        alternate = self.alternate_by if self.regime.startswith("alternating") else "never"
        return with_loss(stage, heads_always=self.heads_always, alternate=alternate)


@dataclass(frozen=True, kw_only=True)
class LGViTOfficial(LGViT):
    """The official code's reading: alternating depth-weighted stage 1, then stage 2 with its sums.

    On Swin the official code has no LGViT loss for stage 2, only its plain distillation, whose cross-entropies are
    weighted by depth and whose teacher classifies behind a norm that was never trained; so does this.
    """

    regime: Regime = "alternating-frozen"
    joint_weights: JointWeights = "depth"
    teacher_norm: Literal["final", "none", "plain"] = "none"
    reduction: Literal["mean", "sum"] = "sum"
    kd_divisor: Literal["batch", "elements"] = "elements"
    feature_divisor: Literal["tokens", "none"] = "none"
    detach_group_teacher: bool = False
    heads_always: bool = True
    frozen_mode: Literal["eval", "train"] = "train"
    alternate_by: Literal["step", "forward"] = "forward"

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        stage = super().heads_stage(backbone)
        if backbone.class_tokens:
            return stage
        plain = {
            "heterogeneous_weight": 0.0, "homogeneous_weight": 0.0, "teacher_norm": "plain", "reduction": "mean",
            "exit_weights": "depth",
        }  # fmt: skip
        return with_loss(stage, **plain)
