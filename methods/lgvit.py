"""LGViT: Dynamic Early Exiting for Accelerating Vision Transformer (Xu et al., ACM MM 2023, arXiv 2308.00255).

Shallow exits lack local information, deep exits lack the target's semantics: so the lower half of the exits gets
convolutional local perception heads (LPH), the upper half attention-based global aggregation heads (GAH). The backbone
is trained first; then the heads learn from it, frozen, by self-distillation.
"""

from dataclasses import dataclass

from methods.api import Choice, TrainStage


@dataclass(frozen=True, kw_only=True)
class LGViT:
    """LPH on the lower ceil(n/2) exits, GAH on the others.

    Attributes:
        feature_terms: add the paper's two feature losses, heterogeneous (features resemble those of the last block) and
            homogeneous (features resemble those of the deepest head of the same kind), each with weight 0.01. Off by
            default, so that a comparison of heads holds the loss fixed.
    """

    feature_terms: bool = False

    def heads(self, count: int) -> tuple[Choice, ...]:
        """The authors' layout for 8 exits, A A B B R2 R2 R3 R3, generalised to any count.

        The first half of the LPHs has the depthwise 3x3 convolution, the second half is pointwise; the first half of
        the GAHs attends on every second token, the second half on every third.
        """
        local = (count + 1) // 2
        kernels = [3 if i < (local + 1) // 2 else 0 for i in range(local)]
        deep = count - local
        strides = [2 if i < (deep + 1) // 2 else 3 for i in range(deep)]
        return (
            *(Choice("lph", {"kernel": kernel}) for kernel in kernels),
            *(Choice("gah", {"stride": stride}) for stride in strides),
        )

    def stages(self) -> tuple[TrainStage, ...]:
        weight = 0.01 if self.feature_terms else 0.0
        loss = Choice("self-distillation", {"heterogeneous_weight": weight, "homogeneous_weight": weight})
        return (TrainStage(loss=loss),)
