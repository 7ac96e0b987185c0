"""The backbone's own final norm and classifier as an exit head."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from methods.backbones.backbone import BlockBackbone
from methods.heads.head import ExitHead
from methods.tokens import Tokens


class FinalClassifierHead(ExitHead):
    """Classifies with the backbone's final norm and classifier, without weights of its own. The feature is the logits."""

    classify: Callable[[Tokens], Tensor] | None = None

    def bind(self, backbone: BlockBackbone) -> None:
        self.classify = backbone.classify

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """
        Raises:
            ValueError: the head is not part of a model with a backbone.
        """
        if self.classify is None:
            raise ValueError("the head final-classifier needs the backbone: make it part of a MultiExitModel")
        logits = self.classify(tokens)
        return logits, logits
