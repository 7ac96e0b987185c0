"""Homogeneous controls for LGViT's central claim: one of its two head kinds at every exit, all else equal."""

from dataclasses import dataclass

from methods.api import Choice, TrainStage


@dataclass(frozen=True, kw_only=True)
class HomogeneousLocal:
    """LPH everywhere.

    Attributes:
        kernel: side of the depthwise convolution; 0 leaves it out.
    """

    kernel: int = 3

    def heads(self, count: int) -> tuple[Choice, ...]:
        return (Choice("lph", {"kernel": self.kernel}),) * count

    def stages(self) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Choice("self-distillation")),)


@dataclass(frozen=True, kw_only=True)
class HomogeneousGlobal:
    """GAH everywhere.

    Attributes:
        stride: attention runs on every stride-th row and column of the patch grid.
    """

    stride: int = 2

    def heads(self, count: int) -> tuple[Choice, ...]:
        return (Choice("gah", {"stride": self.stride}),) * count

    def stages(self) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Choice("self-distillation")),)
