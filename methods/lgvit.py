"""LGViT: Dynamic Early Exiting for Accelerating Vision Transformer (Xu et al., ACM MM 2023, arXiv 2308.00255).

Shallow exits lack local information, and deep exits lack global semantics. LGViT therefore uses convolutional local
perception heads (LPH) for the shallow half of the exits and attention-based global aggregation heads (GAH) for the deep
half. Training has two stages: first the backbone, then the heads by self-distillation on the frozen backbone.

The paper and the official code (falcon-xu/LGViT) differ. `LGViT` follows the paper; the magnitude of its losses does not
depend on the number of tokens or exits. `LGViTOfficial` follows the code. It is a subclass with different defaults, so
that a grid can vary each difference separately.
"""

from dataclasses import dataclass, replace
from typing import Literal

from methods.api import BackboneCard, Component, TrainStage
from methods.exit_method import ExitMethod, JointWeights, Regime, with_idle_heads, with_loss


@dataclass(frozen=True, kw_only=True)
class LGViT(ExitMethod):
    """LPH at the first ceil(n/2) exits (2 of 6), GAH at the others. The D numbers refer to docs/discrepancies.md.

    Attributes:
        lph_kernel: kernel size of the depthwise convolution in every LPH; 0 removes the convolution. null selects the
            authors' layout: 3 in the first half of the LPHs, 0 in the second half (D18).
        gah_stride: stride of every GAH. null selects the authors' layout: 2 in the first half of the GAHs, 3 in the
            second half (on Swin 1 and 2).
        pool: downsampling before a GAH: ``subsample``, as in the official code, or ``average`` pooling (D19).
        gah_residual: whether a GAH adds its input to its output, as an LPH does (D20).
        teacher_norm: norm before the final classifier when it is the teacher: ``final``, as at inference, ``none`` or
            ``plain`` (D5, D7).
        reduction: ``mean`` or ``sum`` over the exits and over the feature terms in stage 2 (D21).
        exit_weights: weights of the exits in the mean cross-entropy of stage 2: ``uniform``, ``depth`` or ``depth-1`` (D21).
        kd_divisor: divisor of the distillation term: ``batch`` (batch size) or ``elements`` (batch size times number of
            classes) (D21).
        feature_divisor: ``tokens``: the feature terms are means over tokens; ``none``: they are sums over tokens (D22).
        detach_group_teacher: whether the homogeneous term detaches the feature of the deepest head in a group (D23).
        heterogeneous_exits: heads that the heterogeneous term compares with the backbone's tokens: the first and last
            head of each group (``ends``) or ``all`` heads (D24).
        heads_always: whether the heads also run in steps that use only the loss of the final exit (D31).
        frozen_mode: mode of the frozen backbone: ``eval``, or ``train``, in which its drop-path is active (D31).
        alternate_by: counter of the alternation: optimizer ``step`` or ``forward`` pass (D32).
        idle_heads: whether the heads ``rest`` in steps that use only the loss of the final exit, or get a ``zero-gradient``,
            so that the optimizer's momentum moves them, as under torch 1.12 (D36).
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
    idle_heads: Literal["rest", "zero-gradient"] = "rest"

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """The authors' layout of heads, generalised from 8 exits to any number of exits.

        The authors' layout for 8 exits is A A B B R2 R2 R3 R3, and A A B B R1 R1 R2 R2 on Swin. A is an LPH with a
        depthwise 3x3 convolution, B is an LPH without it, and Rs is a GAH with stride s. Six exits have the authors' layout
        A B R2 R2 R3 R3, whose LPHs are fewer than half.
        """
        count = len(exits)
        local_count = 2 if count == 6 else (count + 1) // 2
        global_count = count - local_count
        kernels = [3 if i < (local_count + 1) // 2 else 0 for i in range(local_count)]
        if self.lph_kernel is not None:
            kernels = [self.lph_kernel] * local_count
        first_stride = 1 if backbone.family == "swin" else 2
        strides = [first_stride if i < (global_count + 1) // 2 else first_stride + 1 for i in range(global_count)]
        if self.gah_stride is not None:
            strides = [self.gah_stride] * global_count
        options = {"pool": self.pool, "residual": self.gah_residual}
        return (
            *(Component("lph", {"kernel": kernel}) for kernel in kernels),
            *(Component("gah", {"stride": stride, **options}) for stride in strides),
        )

    def heads_stage(self, backbone: BackboneCard) -> TrainStage:
        stage = super().heads_stage(backbone)
        options = {
            "teacher_norm": self.teacher_norm,
            "reduction": self.reduction,
            "exit_weights": self.exit_weights,
            "kd_divisor": self.kd_divisor,
            "feature_divisor": self.feature_divisor,
            "detach_group_teacher": self.detach_group_teacher,
            "heterogeneous_exits": self.heterogeneous_exits,
        }
        return replace(with_loss(stage, **options), frozen_mode=self.frozen_mode)

    def everything_stage(self) -> TrainStage:
        stage = super().everything_stage()
        alternate = self.alternate_by if self.regime.startswith("alternating") else "never"
        stage = with_loss(stage, heads_always=self.heads_always, alternate=alternate)
        return with_idle_heads(stage, self.idle_heads)


@dataclass(frozen=True, kw_only=True)
class LGViTOfficial(LGViT):
    """LGViT as the official code trains it: stage 1 alternates and weights exits by depth; stage 2 sums its terms.

    On Swin, the official code has no LGViT loss for stage 2. It uses plain distillation: the cross-entropies are weighted
    by depth, and the teacher's classifier follows a LayerNorm that was never trained. This class does the same.
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
        if backbone.family != "swin":
            return stage
        plain_distillation = {
            "heterogeneous_weight": 0.0, "homogeneous_weight": 0.0, "teacher_norm": "plain", "reduction": "mean",
            "exit_weights": "depth",
        }  # fmt: skip
        return with_loss(stage, **plain_distillation)
