"""The interface of a task. Shapes: B images, C classes, K exits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from methods.backbones.backbone import BlockBackbone
    from methods.boxes.decoding import Found
    from methods.heads.head import ExitHead


class Task(ABC):
    """What a model answers, and what follows from it. The *output* of an exit is what its head returns for B images.

    A dataset's card names its task. Backbones, heads, losses and policies are the same for all tasks; a task gives them the
    last layer, the terms of the loss, and the values that policies read.

    Attributes:
        answers_beside: whether an answer is more than one class, so that dynamic inference returns it beside the classes.
        distils: whether the outputs of two exits can be distilled. Where they cannot, losses leave the term out.
        has_routers: whether the heads have learned gates that are trained by `router_loss`.
        jumping_signals: values among what policies read that may jump where outputs differ by a rounding error: the largest
            jump of each, by position.
    """

    answers_beside: ClassVar[bool] = False
    distils: ClassVar[bool] = True
    has_routers: ClassVar[bool] = False
    jumping_signals: ClassVar[Mapping[int, float]] = MappingProxyType({})

    @abstractmethod
    def backbone(self, build: Any, architecture: Mapping[str, Any], classes: int) -> BlockBackbone:
        """The backbone of a card's ``build`` function, with a final classifier for this task.

        Raises:
            ValueError: the task does not work with this backbone.
        """

    @abstractmethod
    def head(
        self, cls: Any, dim: int, classes: int, grid: int, class_tokens: int, options: Mapping[str, Any]
    ) -> ExitHead:
        """An exit head of class ``cls`` that returns outputs of this task; the arguments are those of `ExitHead`.

        Raises:
            ValueError: the head has no form for this task.
        """

    @abstractmethod
    def cross_entropy(self, output: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, a scalar; in detection it has other terms than cross-entropy.

        Args:
            output: of an exit.
            labels: of a batch (`datasets.loading.Batch.labels`).
            label_smoothing: of the cross-entropy.
        """

    @abstractmethod
    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 KL(teacher || student) of the class probabilities of two outputs, a mean over what the task classifies."""

    @abstractmethod
    def is_right(self, output: Tensor, labels: Tensor) -> Tensor:
        """Whether answers are right, float32 [M], for what the task classifies in a batch; its mean is shown in training."""

    @abstractmethod
    def answers(self, output: Tensor) -> Tensor:
        """The predicted classes, int64: (B,), or a map (B, g, g); in detection boxes, see `methods.tasks.detection`."""

    @abstractmethod
    def evidence(self, output: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
        """What policies read at an exit, float32 (B, F).

        Args:
            output: of the exit.
            previous: output of the exit before; None at the first.
            read: positions of the values that are read, so that others may be left 0; None for all.
        """

    def router_loss(
        self,
        heads: Sequence[ExitHead],
        outputs: Sequence[Tensor],
        final: Tensor,
        labels: Tensor,
        images: int | None = None,
    ) -> Tensor:
        """The loss of learned gates that compare the losses of the exits, a scalar, for a task that has such gates.

        Args:
            heads: of the early exits.
            outputs: of these heads.
            final: output of the final classifier.
            labels: of the batch.
            images: number of images over all processes that train together; None if these are all.
        """
        raise TypeError(f"the heads of {type(self).__name__} have no routers")

    def detections(self, output: Tensor) -> list[Found]:
        """The boxes of each image, for a task that finds boxes."""
        raise TypeError(f"{type(self).__name__} answers without boxes")

    def counts(self, output: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """What the metric sums over images, int32 (B, C, 6), for a task that answers with maps.

        Args:
            output: of an exit.
            masks: the labelled classes of each image in its stored size, uint8 [H, W] each.
        """
        raise TypeError(f"{type(self).__name__} answers without maps")
